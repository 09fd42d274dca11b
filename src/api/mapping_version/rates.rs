//! Exchange rates, which a mapping holds itself: the same record gives the same amount whenever it is mapped.

use std::collections::BTreeMap;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exchange rates of one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeRates {
    /// The ISO 4217 code of the currency of which one unit is worth the rates.
    #[schemars(length(min = 3, max = 3))]
    pub base: String,
    /// The day that the rates are of.
    #[schemars(schema_with = "crate::api::common::day")]
    pub date: Date,
    /// By ISO 4217 code, how much of that currency one unit of the base is worth, as the text of an exact number: `"1.0834"`.
    #[schemars(extend("maxProperties" = 200), inner(length(max = 40)))]
    pub rates: BTreeMap<String, String>,
}
