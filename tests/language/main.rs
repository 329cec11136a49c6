//! The language from end to end: what is printed parses back, what every feature means, gradients of
//! everything, what the passes are for, what chunks of a sequence are worth.

mod chunks;
mod diagnostics;
mod features;
mod forward;
mod gradients;
mod lookups;
#[path = "../conformance/support.rs"]
mod native;
mod networks;
mod passes;
mod printing;
mod support;
mod trees;
