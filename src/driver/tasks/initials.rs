//! First letters: every letter of a few words is tagged with the first letter of its word, a blank with itself.

use super::draws::Draws;
use super::record::{Record, Value};

const LETTERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// What stands between words: a token that can be seen.
const BLANK: &str = "_";
const LONGEST_WORD: usize = 8;

/// `text`: up to so many words of random letters, `first`: a tag for each letter.
pub(super) fn example(draws: &mut Draws, words: usize) -> Record {
    let (mut text, mut first) = (Vec::new(), Vec::new());
    for word in 0..draws.between(1, words) {
        if word > 0 {
            text.push(BLANK);
            first.push(BLANK);
        }
        let letters: Vec<&str> =
            (0..draws.between(1, LONGEST_WORD)).filter_map(|_| draws.of(&LETTERS)).collect();
        first.extend(letters.iter().filter_map(|_| letters.first()));
        text.extend(letters);
    }
    Record::new([("text", Value::Text(text.join(" "))), ("first", Value::Text(first.join(" ")))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_first_letters() {
        for number in 0..100 {
            let record = example(&mut Draws::new(1, number, 0), 6);
            let text: Vec<&str> = record.text("text").split(' ').collect();
            let tags: Vec<&str> = record.text("first").split(' ').collect();
            assert_eq!(text.len(), tags.len());
            for at in 0..text.len() {
                let begins = at == 0 || text[at - 1] == BLANK || text[at] == BLANK;
                assert_eq!(tags[at], if begins { text[at] } else { tags[at - 1] });
            }
        }
    }
}
