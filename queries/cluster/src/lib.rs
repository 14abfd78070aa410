//! SQL on more than one machine.
