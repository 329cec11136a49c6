//! The grammar's rules in words: what could have stood where a text failed.
//!
//! `[Rule::number, Rule::name, Rule::minus]` gives "an expression"; the names of rules never reach a
//! user. Which of the phrases make the message is decided in `words`.

use super::Rule;

/// How an item is asked for.
pub(super) const ITEM: &str = "`cell`, `model` or `fn`";

/// The grammar's rules in words, without repetition.
pub(super) fn phrases(rules: &[Rule]) -> Vec<&'static str> {
    let mut phrases: Vec<&'static str> = Vec::new();
    for phrase in rules.iter().filter_map(|rule| phrase(*rule)) {
        if !phrases.contains(&phrase) {
            phrases.push(phrase);
        }
    }
    // Behind a finished operand arguments are one operator of many; alone they are a bracket.
    if rules.contains(&Rule::arguments) && !rules.contains(&Rule::infix) {
        phrases.iter_mut().filter(|phrase| **phrase == "an operator").for_each(|phrase| *phrase = "`(`");
    }
    if phrases.contains(&"an expression") {
        phrases.retain(|phrase| *phrase != "a name");
    }
    if phrases.contains(&"a statement") {
        phrases.retain(|phrase| !matches!(*phrase, "`over`" | "a name"));
    }
    phrases
}

fn phrase(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::expression | Rule::atom | Rule::number | Rule::minus | Rule::group | Rule::concat => {
            "an expression"
        }
        Rule::named | Rule::along | Rule::value | Rule::text | Rule::index_entry => "an expression",
        Rule::infix | Rule::transpose | Rule::field | Rule::index | Rule::arguments => "an operator",
        Rule::name | Rule::path | Rule::names | Rule::target | Rule::declaration | Rule::axis => "a name",
        Rule::dim | Rule::parameter | Rule::adjoint | Rule::setting => "a name",
        Rule::value_type | Rule::id_type | Rule::real_type | Rule::id_word => {
            "a type such as `[H]` or `id(V)`"
        }
        Rule::equals => "`=`",
        Rule::tilde => "`~`",
        Rule::colon | Rule::type_colon => "`:`",
        Rule::open_brace => "`{`",
        Rule::close_brace => "`}`",
        Rule::close_paren => "`)`",
        Rule::close_bracket => "`]`",
        Rule::of_word => "`of`",
        Rule::function_result => "`->`",
        Rule::over_word | Rule::declaration_over | Rule::block_axis => "`over`",
        Rule::dims => "`(`",
        Rule::block
        | Rule::block_head
        | Rule::function
        | Rule::cell_word
        | Rule::model_word
        | Rule::fn_word => ITEM,
        Rule::statement | Rule::definition | Rule::input | Rule::state | Rule::param | Rule::gradient => {
            "a statement"
        }
        Rule::loss | Rule::metric | Rule::update | Rule::train => "a statement",
        Rule::input_word | Rule::state_word | Rule::param_word | Rule::gradient_word => "a statement",
        Rule::loss_word | Rule::metric_word | Rule::update_word | Rule::train_word => "a statement",
        // A rule that fails where it begins is reported by its own name.
        Rule::file | Rule::single_item | Rule::single_head => ITEM,
        Rule::single_statement | Rule::statement_row => "a statement",
        Rule::single_expression => "an expression",
        Rule::EOI => "the end",
        _ => return None,
    })
}
