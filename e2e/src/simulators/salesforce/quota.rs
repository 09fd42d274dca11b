//! The API requests of the last 24 hours, counted against the org's limit.
//! <https://developer.salesforce.com/docs/atlas.en-us.salesforce_app_limits_cheatsheet.meta/salesforce_app_limits_cheatsheet/salesforce_app_limits_platform_api.htm>

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderValue;
use serde_json::{Value as Json, json};

#[derive(Debug)]
pub struct Quota {
    used: AtomicU64,
    allowed: AtomicU64,
}

impl Quota {
    pub fn new(allowed: u64) -> Self {
        Self {
            used: AtomicU64::new(0),
            allowed: AtomicU64::new(allowed),
        }
    }

    /// Counts a request, if one is left.
    pub fn take(&self) -> bool {
        let allowed = self.allowed.load(Ordering::Relaxed);
        let next = |used: u64| (used < allowed).then_some(used + 1);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    pub fn set(&self, used: Option<u64>, allowed: Option<u64>) {
        if let Some(used) = used {
            self.used.store(used, Ordering::Relaxed);
        }
        if let Some(allowed) = allowed {
            self.allowed.store(allowed, Ordering::Relaxed);
        }
    }

    pub fn used_and_allowed(&self) -> (u64, u64) {
        (self.used.load(Ordering::Relaxed), self.allowed.load(Ordering::Relaxed))
    }

    /// `Sforce-Limit-Info: api-usage=18/15000`
    /// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm>
    pub fn header(&self) -> Option<HeaderValue> {
        let (used, allowed) = self.used_and_allowed();
        HeaderValue::try_from(format!("api-usage={used}/{allowed}")).ok()
    }

    /// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_limits.htm>
    pub fn limits(&self) -> Json {
        let (used, allowed) = self.used_and_allowed();
        let full = |max: u64| json!({"Max": max, "Remaining": max});
        json!({
            "ConcurrentAsyncGetReportInstances": full(200),
            "DailyApiRequests": {"Max": allowed, "Remaining": allowed.saturating_sub(used)},
            "DailyAsyncApexExecutions": full(250_000),
            "DailyBulkApiBatches": full(15_000),
            "DailyDeliveredPlatformEvents": full(10_000),
            "DataStorageMB": full(1_073),
            "FileStorageMB": full(1_073),
            "HourlyPublishedPlatformEvents": full(50_000),
        })
    }
}
