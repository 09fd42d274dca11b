//! Why a run stops before its end.

use jiff::Timestamp;

use crate::api::common::Outcome;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::state::StateError;

/// Why a run stops before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) outcome: Outcome,
    pub(super) message: String,
    pub(super) parked_until: Option<Timestamp>,
}

impl Stop {
    pub(super) fn new(outcome: Outcome, message: impl Into<String>) -> Stop {
        Stop {
            outcome,
            message: message.into(),
            parked_until: None,
        }
    }

    /// A defect. The panic's own words may hold a value, and went to stderr only as far as the panic hook lets them.
    pub(super) fn defect(stage: &str) -> Stop {
        Stop::new(
            Outcome::InternalError,
            format!("the {stage} stage failed by a defect of Ferrygate; please report it with the worker's log"),
        )
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Stop {
        Stop {
            outcome: error.outcome,
            message: error.message,
            parked_until: error.parked_until,
        }
    }
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Stop {
        Stop::new(error.outcome, error.message)
    }
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Stop {
        Stop::new(error.outcome(), error.to_string())
    }
}
