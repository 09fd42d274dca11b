//! Simulators of the CRMs and the CDPs, which follow the published protocols.
