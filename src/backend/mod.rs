//! What turns a plan into something that runs. Backends read plans and decide nothing that another
//! backend would have to decide as well.

pub mod native;
pub mod opencl;
