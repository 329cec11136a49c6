//! `:cost`: operations, bytes and memory in a table, and why neighbours are not one kernel.

use super::stages::emitted;
use super::{Done, Session};
use crate::driver::cost::{Cost, Costs, cost};
use crate::driver::summary::thousands;

impl Session {
    /// `:cost [M] [batch B] [steps N]`
    pub(super) fn cost(&mut self, rest: &str) -> Done {
        let (checked, examples, steps) = self.sized(rest)?;
        let costs = cost(&checked, examples, steps).map_err(emitted)?;
        Ok(table(&costs))
    }
}

fn table(costs: &Costs) -> String {
    let (examples, steps) = costs.shape;
    let mut text = format!(
        "{}, training on a batch of {examples} with {steps} positions an axis, in f32\n\n{:>14} {:>14}  equation\n",
        costs.model, "operations", "bytes"
    );
    for (title, backward, in_loop) in [
        ("forward, outside loops", false, false),
        ("forward, in loops", false, true),
        ("backward, in loops", true, true),
        ("backward, outside loops", true, false),
    ] {
        let own: Vec<&Cost> = costs
            .equations
            .iter()
            .filter(|cost| cost.backward == backward && cost.in_loop == in_loop)
            .collect();
        if own.is_empty() {
            continue;
        }
        let sum = |figure: &dyn Fn(&Cost) -> f64| own.iter().map(|cost| figure(cost)).sum::<f64>();
        text += &format!("{} {title}\n", columns(sum(&|cost| cost.operations), sum(&|cost| cost.bytes)));
        for cost in own {
            text += &format!("{}    {}\n", columns(cost.operations, cost.bytes), cost.equation);
        }
    }
    let total = |figure: &dyn Fn(&Cost) -> f64| costs.equations.iter().map(figure).sum::<f64>();
    text += &format!("{} in all\n", columns(total(&|cost| cost.operations), total(&|cost| cost.bytes)));
    text += &format!(
        "\nmemory: {} bytes of buffers at the fullest, {} bytes of parameters\n",
        thousands(costs.arena),
        thousands(costs.parameters)
    );
    for buffer in costs.buffers.iter().filter(|buffer| buffer.role != "parameter").take(5) {
        text += &format!("{:>14}  {} ({})\n", thousands(buffer.bytes), buffer.name, buffer.role);
    }
    if !costs.apart.is_empty() {
        text += "\nnot one kernel:\n";
    }
    for (first, second, reason) in &costs.apart {
        text += &format!("  {first} | {second}: {reason}\n");
    }
    text
}

fn columns(operations: f64, bytes: f64) -> String {
    let whole = |figure: f64| thousands(figure.round() as usize);
    format!("{:>14} {:>14} ", whole(operations), whole(bytes))
}
