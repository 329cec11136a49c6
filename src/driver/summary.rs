//! A model's parameters as a table by layer.
//!
//! ```text
//! layer  parameters                              count
//! embed  [1000, 64]                             64,000
//! h      W_f, W_i, W_c, W_o [128, 192]; b_f, …  98,816
//! ```
//!
//! A layer is an application of a cell (`h` in `h = LSTM(E, H)(…)`, with all that is inside it) or a
//! parameter of the model itself. Nothing is compiled.

use crate::ir::{Graph, ParamSpec};

/// A layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The application's or the parameter's name.
    pub name: String,
    /// Its parameters, those of one shape together: `W_f, W_i [128, 192]; b [128]`.
    pub parameters: String,
    /// Their elements.
    pub count: usize,
}

/// The layers of a model in the order of their first parameters.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let mut found: Vec<(String, Vec<&ParamSpec>)> = Vec::new();
    for param in &graph.params {
        let layer = param.name.split_once('.').map_or(param.name.as_str(), |(layer, _)| layer);
        match found.iter_mut().find(|(name, _)| name == layer) {
            Some((_, params)) => params.push(param),
            None => found.push((layer.to_string(), vec![param])),
        }
    }
    found.into_iter().map(|(name, params)| layer(name, &params)).collect()
}

fn layer(name: String, params: &[&ParamSpec]) -> Layer {
    let mut groups: Vec<(&[usize], bool, Vec<&str>)> = Vec::new();
    for param in params {
        let own = param.name.split_once('.').map_or("", |(_, own)| own);
        match groups
            .iter_mut()
            .find(|(shape, trainable, _)| *shape == param.shape && *trainable == param.trainable)
        {
            Some((_, _, names)) => names.push(own),
            None => groups.push((&param.shape, param.trainable, vec![own])),
        }
    }
    let group = |(shape, trainable, names): &(&[usize], bool, Vec<&str>)| {
        let frozen = if *trainable { "" } else { " frozen" };
        format!("{} {shape:?}{frozen}", names.join(", ")).trim_start().to_string()
    };
    let parameters = groups.iter().map(group).collect::<Vec<_>>().join("; ");
    let count = params.iter().map(|param| param.shape.iter().product::<usize>()).sum();
    Layer { name, parameters, count }
}

/// The table with its total.
pub fn summary(graph: &Graph) -> String {
    let layers = layers(graph);
    let total: usize = layers.iter().map(|layer| layer.count).sum();
    let mut rows = vec![["layer".to_string(), "parameters".to_string(), "count".to_string()]];
    rows.extend(layers.into_iter().map(|layer| [layer.name, layer.parameters, thousands(layer.count)]));
    rows.push(["total".to_string(), String::new(), thousands(total)]);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let rule = format!("{}\n", "-".repeat(first + second + third + 4));
    let dims: Vec<String> = graph.dims.iter().map(|(name, size)| format!("{name} = {size}")).collect();
    let mut text = format!("model {}({})\n\n", graph.name, dims.join(", "));
    let last = rows.len() - 1;
    for (index, [layer, parameters, count]) in rows.iter().enumerate() {
        if index == 1 || index == last {
            text.push_str(&rule);
        }
        text.push_str(&format!("{layer:first$}  {parameters:second$}  {count:>third$}\n"));
    }
    text
}

/// `164,106`
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Mode;
    use crate::driver::session::Model;

    #[test]
    fn the_design_s_sentiment_model() {
        let text = include_str!("../../examples/sentiment.rnn");
        let graph = Model::new("sentiment.rnn", text).check(Mode::Train).unwrap().graph;
        let found = layers(&graph);
        let counts: Vec<usize> = found.iter().map(|layer| layer.count).collect();
        assert_eq!(counts, [64_000, 98_816, 1_290]);
        let table = summary(&graph);
        assert!(table.ends_with("164,106\n"), "{table}");
        assert!(table.contains("W_f, W_i, W_c, W_o [128, 192]; b_f, b_i, b_c, b_o [128]"), "{table}");
    }
}
