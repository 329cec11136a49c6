//! The language from end to end: what is printed parses back, what every feature means, what
//! chunks of a sequence are worth.

mod printing;
mod support;
