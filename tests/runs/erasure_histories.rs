//! Erasure over histories: killed at any request, and at random.

use std::collections::{BTreeMap, BTreeSet};

use ferrygate::api::common::Outcome;
use proptest::prelude::*;
use serde_json::json;

use crate::erasure::{number, setting};
use crate::fakes::Silence;
use crate::library::Setting;
use crate::regulations::{Fault, people};

/// Kills the run at its every request that changes something at the CDP, before and after the CDP takes it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_every_deleted_person_is_asked_for_once_and_no_living_one() {
    let mut killed = 0;
    for from in 1.. {
        let mut whole = 0;
        for taken in [false, true] {
            let setting = setting(6).await;
            setting.run(1, None).await;
            setting.delete(1);
            setting.delete(2);
            setting.merge(3, 0);
            setting.fakes.silent(Some(Silence { from, taken }));
            let survived = tokio::select! {
                result = setting.run(2, None) => { assert_eq!(result.outcome, Outcome::Succeeded); true }
                () = setting.fakes.hung() => false,
            };
            setting.fakes.silent(None);
            killed += usize::from(!survived);
            whole += usize::from(survived);
            setting.delete(4);
            setting.undelete(2);
            let result = setting.run(3, None).await;
            assert_eq!(result.outcome, Outcome::Succeeded, "{from} {taken}: {result:?}");
            let asked: Vec<usize> = setting.asked().into_iter().flatten().collect();
            let mut once = asked.clone();
            once.sort_unstable();
            // 2 was deleted, and may have been asked for, until it was undeleted.
            once.retain(|number| *number != 2);
            assert_eq!(once, [1, 4], "{from} {taken}: {asked:?}");
            let living = setting.fakes.take_calls();
            let living = living.iter().filter(|call| call["type"] == "regulation");
            assert!(living.clone().all(|call| call["living"] == json!([])), "{from} {taken}");
        }
        if whole == 2 {
            break;
        }
    }
    assert!(killed >= 4, "a run makes two requests at least");
}

/// What may happen between two runs, and to one.
#[derive(Clone, Debug)]
enum Step {
    Edit(usize),
    Delete(usize),
    Undelete(usize),
    Merge(usize, usize),
    /// The CDP ends what it was asked for.
    End,
    /// A run; what the privacy API does to its first requests, and at which request it is killed.
    Run {
        faults: Vec<Fault>,
        killed: Option<(u64, bool)>,
    },
}

const RECORDS: usize = 5;

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Status(503)),
        Just(Fault::Status(401)),
        Just(Fault::TakenThen(500)),
        Just(Fault::Truncated),
        Just(Fault::Header(429, "retry-after", "0".into())),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..RECORDS).prop_map(Step::Edit),
        4 => (0..RECORDS).prop_map(Step::Delete),
        3 => (0..RECORDS).prop_map(Step::Undelete),
        1 => (0..RECORDS, 0..RECORDS).prop_map(|(number, into)| Step::Merge(number, into)),
        2 => Just(Step::End),
        6 => (prop::collection::vec(any_fault(), 0..2), prop::option::weighted(0.5, (1..5u64, any::<bool>())))
            .prop_map(|(faults, killed)| Step::Run { faults, killed }),
    ]
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Truth {
    #[default]
    Lives,
    Deleted,
    Merged,
}

/// What the CDP holds, at the worst: a regulation erases what comes until it ends.
#[derive(Default)]
struct Cdp {
    active: BTreeMap<usize, bool>,
    /// Who was asked for, and sent nothing of since.
    erased: BTreeSet<usize>,
}

impl Cdp {
    fn look(&mut self, setting: &Setting, ended: Option<Vec<String>>) -> Result<(), TestCaseError> {
        for call in setting.fakes.take_calls() {
            if call["type"] == "regulation" {
                prop_assert_eq!(&call["living"], &json!([]), "{}", call);
                let people = people(&call);
                self.erased.extend(people.iter().map(|id| number(id)));
                continue;
            }
            let user = call["userId"].as_str().unwrap_or_default();
            if call["type"] == "identify" {
                self.active.insert(number(user), call["traits"].is_object());
                self.erased.remove(&number(user));
            }
        }
        for id in ended.into_iter().flatten() {
            self.active.remove(&number(&id));
        }
        Ok(())
    }
}

async fn history(steps: &[Step]) -> Result<(), TestCaseError> {
    let setting = setting(RECORDS).await;
    let (mut truth, mut cdp, mut epoch) = ([Truth::Lives; RECORDS], Cdp::default(), 1);
    setting.run(epoch, None).await;
    cdp.look(&setting, None)?;
    for step in steps {
        match step {
            Step::Edit(number) => setting.edit(*number),
            Step::Delete(number) if truth[*number] == Truth::Lives => {
                setting.delete(*number);
                truth[*number] = Truth::Deleted;
            }
            Step::Undelete(number) if truth[*number] == Truth::Deleted => {
                setting.undelete(*number);
                truth[*number] = Truth::Lives;
            }
            Step::Merge(number, into)
                if number != into && truth[*number] == Truth::Lives && truth[*into] == Truth::Lives =>
            {
                setting.merge(*number, *into);
                truth[*number] = Truth::Merged;
            }
            Step::Delete(_) | Step::Undelete(_) | Step::Merge(..) => {}
            Step::End => {
                let ended = setting.fakes.regulations().end("FINISHED");
                setting.later(2);
                cdp.look(&setting, Some(ended))?;
            }
            Step::Run { faults, killed } => {
                epoch += 1;
                setting.fakes.regulations().fail(faults.clone());
                setting
                    .fakes
                    .silent(killed.map(|(from, taken)| Silence { from, taken }));
                tokio::select! {
                    _ = setting.run(epoch, None) => {}
                    () = setting.fakes.hung() => {}
                }
                setting.fakes.silent(None);
                cdp.look(&setting, None)?;
            }
        }
    }
    setting.fakes.regulations().fail([]);
    // One asks, one learns of the end, one delivers who has returned.
    for last in 0..4 {
        epoch += 1;
        let result = setting.run(epoch, None).await;
        prop_assert_eq!(result.outcome, Outcome::Succeeded, "{:?}", result);
        cdp.look(&setting, None)?;
        if last < 2 {
            let ended = setting.fakes.regulations().end("FINISHED");
            setting.later(2);
            cdp.look(&setting, Some(ended))?;
        }
    }
    for (number, truth) in truth.iter().enumerate() {
        match truth {
            Truth::Lives => prop_assert_eq!(cdp.active.get(&number), Some(&true), "{} lives", number),
            Truth::Deleted => prop_assert!(cdp.erased.contains(&number), "{} is not erased", number),
            Truth::Merged => prop_assert_ne!(cdp.active.get(&number), Some(&true), "{} goes on as another", number),
        }
    }
    let trail = setting.audit(&["verify"]);
    prop_assert!(trail[0]["entries"].as_i64() > Some(0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    /// Over random histories of deletions, undeletions, merges, faults and kills: whoever is deleted in the end is erased, and
    /// nothing of them sent since; nobody was asked for while they lived, and whoever lives in the end is known to the CDP.
    #[test]
    fn every_deleted_person_is_erased_and_no_living_one_ever(steps in prop::collection::vec(any_step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(history(&steps))?;
    }
}
