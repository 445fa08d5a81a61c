//! What images of others hold: told as they were made, in every layout, and mangled.

mod builder;
mod hostile;
mod layouts;
mod written;
