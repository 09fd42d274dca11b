//! Where readings whose records come in no order can be gone on with: written with the records up to there, as the watermark is of
//! those that come in order.

use rusqlite::{OptionalExtension, Row, params};

use super::store::instant;
use super::{StateError, Store};
use crate::api::sync_pipeline::Watermark;
use crate::source::{NextPart, ResumePoint};

pub(super) const TABLES: &str = "
    CREATE TABLE resume_point (
        reading        TEXT NOT NULL PRIMARY KEY,
        job            TEXT NOT NULL,
        question       TEXT NOT NULL,
        part           TEXT,
        ended          INTEGER NOT NULL,
        complete_as_of INTEGER NOT NULL,
        settled_until  INTEGER NOT NULL,
        reached_stamp  INTEGER,
        reached_id     TEXT
    ) WITHOUT ROWID, STRICT;
";

pub(super) const EMPTY: &str = "DELETE FROM resume_point";

impl Store {
    /// Where the reading called `reading` can be gone on with, if a run before this one left it unfinished.
    pub fn resume_point(&self, reading: &str) -> Result<Option<ResumePoint>, StateError> {
        self.attempt(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT job, question, part, ended, complete_as_of, settled_until, reached_stamp, reached_id
                 FROM resume_point WHERE reading = ?1",
            )?;
            statement.query_row([reading], read).optional()
        })
    }

    /// Notes where the reading called `reading` can be gone on with. It becomes lasting with the next commit.
    pub fn resume_at(&mut self, reading: &str, point: &ResumePoint) -> Result<(), StateError> {
        self.begin()?;
        let part = match &point.next {
            NextPart::Named(part) => Some(part),
            NextPart::First | NextPart::End => None,
        };
        let reached = point.reached.as_ref();
        self.attempt(|connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO resume_point
                     (reading, job, question, part, ended, complete_as_of, settled_until, reached_stamp, reached_id)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )?
                .execute(params![
                    reading,
                    point.job,
                    point.question,
                    part,
                    point.next == NextPart::End,
                    point.complete_as_of.as_microsecond(),
                    point.settled_until.as_microsecond(),
                    reached.map(|reached| reached.stamp.as_microsecond()),
                    reached.map(|reached| &reached.id),
                ])
        })?;
        Ok(())
    }

    /// Forgets where readings can be gone on with: they are at their end. It becomes lasting with the next commit.
    pub fn forget_resume_points(&mut self) -> Result<(), StateError> {
        self.begin()?;
        self.execute(EMPTY)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ResumePoint> {
    let next = match (row.get::<_, bool>(3)?, row.get(2)?) {
        (true, _) => NextPart::End,
        (false, Some(part)) => NextPart::Named(part),
        (false, None) => NextPart::First,
    };
    let reached = match row.get::<_, Option<String>>(7)? {
        Some(id) => Some(Watermark {
            stamp: instant(row, 6)?,
            id,
        }),
        None => None,
    };
    Ok(ResumePoint {
        job: row.get(0)?,
        question: row.get(1)?,
        next,
        complete_as_of: instant(row, 4)?,
        settled_until: instant(row, 5)?,
        reached,
    })
}
