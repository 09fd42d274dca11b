//! The consent gate: the last step before delivery, and it fails closed.
