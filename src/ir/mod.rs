//! The graph: a system of equations over axes, which every later stage transforms or walks.
//!
//! A [`Node`] is an operation with a static shape, an element type and a set of [`Axis`]es; an edge
//! carries the operand's index and an [`Access`] (the same position, an earlier one, the last one, …).
//! A delayed edge is what makes a cycle legal; [`schedule`] finds the cycles and calls them loops.
//! A tree is one more axis: its positions are the nodes, and the children of each node and the leaves are
//! axes of their own, between which values are read.
//! petgraph holds the nodes and is private to this folder.
//!
//! - `op`: the operations and how to add one; `types`: axes, accesses, value types
//! - `infer`: the type of an operation's result; `verify`: all invariants
//! - `graph`: the container; `schedule`: loops and order; `arity`: how many children a tree's equations see
//! - `outline`: which nodes an equation is made of and what it reads
//! - `print`, `dot`: the graph as equations and as a picture; `unroll`: an axis turned into copies

mod arity;
mod dot;
mod graph;
mod infer;
mod op;
mod outline;
mod print;
mod schedule;
mod types;
mod unroll;
mod verify;

pub use arity::most_children;
pub use dot::{dot, dot_in_groups};
pub use graph::{Graph, InputSpec, Node, NodeId, Operand, Origin, OriginKind, Output, OutputKind, ParamSpec};
pub use infer::{InferError, infer};
pub use op::{Along, Binary, Contract, Op, Reduction, Unary};
pub use outline::{Equation, outline};
pub use print::{Listing, listing, live, position, print, right_side, written};
pub use schedule::{ScheduleError, Stage, instant_cycle, schedule};
pub use types::{Access, Axis, AxisId, AxisKind, AxisSet, BATCH, Element, ValueType};
pub use unroll::{unroll, unroll_tree, unroll_tree_by_node};
pub use verify::verify;

pub use crate::base::{Tree, TreeError};
