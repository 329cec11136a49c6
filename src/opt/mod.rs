//! Optimisation: graph to graph, one pass a file, pipelines as lists on one screen.
//!
//! A pass is a name, a description and a function. None knows a particular cell; each is a general
//! rule of algebra or of loops. `driver` runs pipelines, verifying after each pass in debug builds.

mod carry;
mod common;
mod copies;
mod dead;
mod draws;
mod fold;
mod hoist;
mod merge;
mod pieces;
mod reassociate;
mod recompute;
mod rejoin;
mod rewrite;
mod shift;
mod simplify;
mod slices;
mod split;
mod tables;

use crate::ir::Graph;

pub use carry::{Uncut, carry};
pub use draws::{
    Draws, Stepwise, Unstepped, axis_of_steps, distribution, drawn_before, opened, order, stepwise,
};

/// A transformation that keeps the meaning of a graph.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Its name, in listings and flags.
    pub name: &'static str,
    /// What it does, in a line.
    pub description: &'static str,
    /// Does it; true if something changed.
    pub run: fn(&mut Graph) -> bool,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const COPIES: Pass = Pass { name: "copies", description: "read what a copy copies", run: copies::run };
const FOLD: Pass = Pass { name: "fold", description: "compute what is constant", run: fold::run };
const SIMPLIFY: Pass = Pass {
    name: "simplify",
    description: "algebra: x * 1, slices of joins, sums of zeros",
    run: simplify::run,
};
const COMMON: Pass = Pass { name: "common", description: "one node for equal expressions", run: common::run };
const DEAD: Pass = Pass { name: "dead", description: "drop what no output needs", run: dead::run };
const SHIFT: Pass = Pass {
    name: "shift",
    description: "read the operands of a product at another position, not the product",
    run: shift::run,
};
const REASSOCIATE: Pass = Pass {
    name: "reassociate",
    description: "a sum of products over positions as one product",
    run: reassociate::run,
};
const SPLIT: Pass = Pass { name: "split", description: "W @ [a, b] as W_a @ a + W_b @ b", run: split::run };
const MERGE: Pass =
    Pass { name: "merge", description: "products that share an operand as one product", run: merge::run };
const REJOIN: Pass =
    Pass { name: "rejoin", description: "joins of sums of outer products as one sum", run: rejoin::run };
const PIECES: Pass =
    Pass { name: "pieces", description: "sums of the parts of a join as parts of one sum", run: pieces::run };
const SLICES: Pass =
    Pass { name: "slices", description: "slices of arithmetic as arithmetic of slices", run: slices::run };
const HOIST: Pass =
    Pass { name: "hoist", description: "sum outside a loop what the loop only adds", run: hoist::run };
const TABLES: Pass = Pass {
    name: "tables",
    description: "products of looked-up rows as rows of one product",
    run: tables::run,
};
const RECOMPUTE: Pass = Pass {
    name: "recompute",
    description: "compute cheap forward values again in the backward pass",
    run: recompute::run,
};

/// What every printed program goes through: short, in the textbook's form.
#[rustfmt::skip]
pub const TIDY: &[Pass] = &[
    COPIES, FOLD, SIMPLIFY, COMMON,
    SHIFT, REASSOCIATE,
    COPIES, FOLD, SIMPLIFY, COMMON, DEAD,
];

/// What every compiled program goes through.
#[rustfmt::skip]
pub const COMPILE: &[Pass] = &[
    COPIES, FOLD, SIMPLIFY, COMMON,
    SHIFT, REASSOCIATE,
    COPIES, FOLD, SIMPLIFY, COMMON, DEAD,
    SPLIT, HOIST, SIMPLIFY, COMMON, DEAD,
    MERGE, SIMPLIFY, COMMON, DEAD,
    REJOIN, SLICES, COMMON, DEAD,
    TABLES, COMMON, DEAD,
    PIECES, COMMON, DEAD,
    RECOMPUTE,
];

/// Every pass once, in the order of first use.
pub const ALL: &[Pass] = &[
    COPIES,
    FOLD,
    SIMPLIFY,
    COMMON,
    SHIFT,
    REASSOCIATE,
    DEAD,
    SPLIT,
    HOIST,
    MERGE,
    REJOIN,
    SLICES,
    TABLES,
    PIECES,
    RECOMPUTE,
];

/// One node for equal expressions, none for what no output needs: after a rewriting outside this folder.
pub fn clean(graph: &mut Graph) {
    for pass in [COPIES, FOLD, COMMON, DEAD] {
        (pass.run)(graph);
    }
}
