//! The rules by which a change breaks, or does not.

use serde::{Serialize, Serializer};

/// What a change does to those who rely on a version, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Effect {
    /// It is for the readers of the contract; what is delivered stays as it was.
    Editorial,
    /// Something is new; what was delivered stays as it was.
    Compatible,
    /// What was delivered is delivered otherwise, or no longer, or of other people.
    Breaking,
}

impl Effect {
    /// All of them, the worst first.
    pub const WORST_FIRST: [Effect; 3] = [Effect::Breaking, Effect::Compatible, Effect::Editorial];

    /// The word in a sentence.
    pub fn as_adjective(self) -> &'static str {
        match self {
            Effect::Editorial => "editorial",
            Effect::Compatible => "compatible",
            Effect::Breaking => "breaking",
        }
    }
}

macro_rules! rules {
    ($($name:ident $id:literal $effect:ident $words:literal,)+) => {
        /// The rule that a change falls under: the closed list, which `docs/versions.md` explains.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $words] $name,)+
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Rule] = &[$(Rule::$name),+];

            /// The rule's name in documents and in the output of `ferrygate diff`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Rule::$name => $id,)+
                }
            }

            /// What a change under it does.
            pub fn effect(self) -> Effect {
                match self {
                    $(Rule::$name => Effect::$effect,)+
                }
            }

            /// Why, in a sentence.
            pub fn words(self) -> &'static str {
                match self {
                    $(Rule::$name => $words,)+
                }
            }
        }
    };
}

rules! {
    OtherMapping "other-mapping" Breaking "the two are not versions of the same mapping",
    ObjectAdded "object-added" Compatible "records of another CRM object are mapped",
    ObjectRemoved "object-removed" Breaking "records of the CRM object are no longer mapped",
    Entity "entity" Breaking "the records become another canonical entity",
    Identity "identity" Breaking "who is taken for whom changes",
    InformationalIdentity "informational-identity" Compatible "an identity that never merges is new",
    GroupAdded "group-added" Compatible "people are told of a group",
    Group "group" Breaking "people belong to another group, or to none",
    Subject "subject" Breaking "events concern another person",
    TraitAdded "trait-added" Compatible "a trait is new",
    TraitRequired "trait-required" Breaking "a trait is new that rejects records, which were delivered before, where it is null",
    TraitRemoved "trait-removed" Breaking "a trait is gone that was not deprecated with a removeAfter that has passed",
    TraitRetired "trait-retired" Compatible "a deprecated trait is gone after the day that its removeAfter named",
    Type "type" Breaking "what is delivered has another type",
    Meaning "meaning" Breaking "what is delivered comes from elsewhere, or is made in another way",
    Nulls "nulls" Breaking "the CDP is told something else where the CRM has null",
    NullsLoosened "nulls-loosened" Compatible "records that a null rejected are delivered",
    Errors "errors" Breaking "something else becomes of values that are refused",
    ErrorsLoosened "errors-loosened" Compatible "records that a refused value rejected are delivered",
    ClassificationRaised "classification-raised" Breaking "sinks that may not hold the new classification no longer get it",
    ClassificationLowered "classification-lowered" Compatible "sinks that could not hold the old classification get it from now on",
    Deprecation "deprecation" Compatible "a trait is on its way out, or stays longer",
    DeprecationHastened "deprecation-hastened" Breaking "a deprecated trait may be gone earlier than was promised",
    EnumValue "enum-value" Breaking "a value of the CRM becomes another canonical value, or none",
    EnumValueAdded "enum-value-added" Compatible "a value of the CRM that had no canonical value has one",
    EnumUnused "enum-unused" Editorial "nothing uses the table on both sides",
    Rates "rates" Compatible "amounts of money are converted by other rates",
    EventAdded "event-added" Compatible "an event is new",
    EventRemoved "event-removed" Breaking "an event is no longer sent",
    Event "event" Breaking "an event is sent at other occasions, or with another instant",
    PropertyAdded "property-added" Compatible "a property of an event is new",
    PropertyRemoved "property-removed" Breaking "a property of an event is no longer sent",
    ConsentAdded "consent-added" Compatible "a purpose is new",
    Consent "consent" Breaking "who counts as having consented changes",
    ProjectionAdded "projection-added" Compatible "a CDP gets what it did not get before, under a name of its own or the canonical one",
    Projection "projection" Breaking "a CDP gets something under another name or in another place, or no longer",
    Expectation "expectation" Compatible "what counts as good quality changes, and nothing that is delivered",
    Wording "wording" Editorial "it is for the readers of the contract",
    Unruled "unruled" Breaking "no rule says that this is harmless, so it is taken for breaking",
}

impl Rule {
    /// Whether a change under it concerns those who rest on the traits: what is merely new concerns nobody yet.
    pub(super) fn touches_somebody(self) -> bool {
        use Rule::*;
        let is_merely_new = matches!(
            self,
            ObjectAdded
                | InformationalIdentity
                | GroupAdded
                | TraitAdded
                | EventAdded
                | PropertyAdded
                | ConsentAdded
                | ProjectionAdded
        );
        self.effect() != Effect::Editorial && !is_merely_new && self != Expectation
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
