//! What Ferrygate is tested with: a local Kubernetes cluster built from packages, simulators of the CRMs and the CDPs,
//! and the end-to-end tests that join them to the operator.

pub mod cluster;
pub mod image;
pub mod progress;
pub mod simulators;
