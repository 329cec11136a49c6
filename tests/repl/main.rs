//! The session at the prompt: transcripts that are snapshots, every command on every kind of model, and that
//! no line breaks it.
//!
//! A transcript is what one types behind `> ` and what comes back. The snapshots are read when they change;
//! figures that depend on the processor (code, speed, trained weights) are not in them.

mod commands;
mod robust;
mod support;
mod transcripts;
