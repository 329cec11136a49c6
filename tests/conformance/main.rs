//! One program, every way of running it: the interpreter is the oracle, native code (f32 and f64), the
//! optimised graph and derived gradients are held against it on random programs.

mod device;
mod forward;
mod functions;
mod generate;
mod gradients;
mod native;
mod opencl;
mod passes;
mod support;
