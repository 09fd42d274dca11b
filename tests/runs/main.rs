//! Whole runs against a CRM and a CDP of the tests' own: by the command line, and by the library's door.

mod bulk;
mod consent;
mod erasure;
mod erasure_histories;
mod fakes;
mod files;
mod identity;
mod jobs;
mod library;
mod regulations;
