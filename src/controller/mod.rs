//! The operator: observe, decide, act.
