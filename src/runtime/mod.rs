//! What runs around a compiled model: parameters, random numbers, optimisers, data and files.
//!
//! Nothing here knows the graph. A model reaches this folder as a list of [`parameters::ParameterSpec`]
//! and flat slices of numbers, so that the driver can train what any backend computes. The folder's
//! files do not print (but for `progress`), and every reduction has an order that the data alone fixes:
//! the same seed gives the same bits.
//!
//! | files | hold |
//! | --- | --- |
//! | `parameters`, `initializer` | values by name, and their first draw |
//! | `layout`, `program`, `tables` | rows and memory of a batch; a compiled plan and runs of it; outputs of few rows |
//! | `threads` | who runs them |
//! | `opencl` | the same on OpenCL devices: kernels, memory, parameters that stay there |
//! | `optimizer`, `groups`, `clip`, `schedule`, `settings` | a step of training, and what a `train` block says of it |
//! | `records`, `text`, `treebank`, `npz`, `npy` | data in files; `reading`: how records are read |
//! | `words`, `lexicon` | tokens as ids |
//! | `checkpoint`, `weights`, `vectors`, `files`, `exact` | runs and weights on disk |
//! | `progress`, `curve`, `shades`, `interrupt` | the person who waits |
//!
//! The driver and the command line call all of it; nothing below this layer may.

pub mod checkpoint;
pub mod clip;
pub mod curve;
pub mod exact;
pub mod files;
pub mod groups;
pub mod initializer;
pub mod interrupt;
pub mod layout;
pub mod lexicon;
pub mod memory;
pub mod npy;
pub mod npz;
pub mod opencl;
pub mod optimizer;
pub mod parameters;
pub mod program;
pub mod progress;
pub mod reading;
pub mod records;
pub mod schedule;
pub mod settings;
pub mod shades;
pub mod tables;
pub mod text;
pub mod threads;
pub mod treebank;
pub mod vectors;
pub mod weights;
pub mod words;
