//! Ferrygate keeps customer data platforms true to the CRM.
