"""What users of simple-salesforce do: log in, query with paging and by bulk jobs, describe, write, replicate, meet errors."""

import csv
import io
import os
import sys
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce, format_soql
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)

SIMULATOR = urlsplit(os.environ["SALESFORCE_URL"])


class ToSimulator(HTTPAdapter):
    """Takes every https request to the simulator in plain text: the library knows https://*.salesforce.com only."""

    def send(self, request, **options):
        asked = urlsplit(request.url)
        request.url = asked._replace(scheme="http", netloc=SIMULATOR.netloc).geturl()
        return super().send(request, **options)


def session():
    made = requests.Session()
    made.mount("https://", ToSimulator())
    return made


def refused(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was expected")


def main():
    contacts = int(os.environ["SALESFORCE_CONTACTS"])
    app = {"consumer_key": os.environ["SALESFORCE_CLIENT_ID"], "session": session(), "version": "62.0"}
    user = {"username": os.environ["SALESFORCE_USERNAME"], "privatekey_file": os.environ["SALESFORCE_PRIVATE_KEY"]}

    # Log in, by each of the flows that integrations use.
    sf = Salesforce(**app, **user)
    by_secret = Salesforce(**app, consumer_secret=os.environ["SALESFORCE_CLIENT_SECRET"], domain="acme.my")
    assert by_secret.query("SELECT COUNT() FROM Contact")["totalSize"] == contacts
    wrong = refused(SalesforceAuthenticationFailed, lambda: Salesforce(**app, consumer_secret="wrong", domain="acme.my"))
    assert wrong.code == "invalid_client", wrong

    # Describe.
    assert {"Account", "Contact", "Lead", "Opportunity"} <= {each["name"] for each in sf.describe()["sobjects"]}
    fields = {field["name"]: field for field in sf.Contact.describe()["fields"]}
    assert fields["SystemModstamp"]["type"] == "datetime" and fields["LastName"]["nillable"] is False
    assert sf.Contact.metadata()["objectDescribe"]["keyPrefix"] == "003"

    # Query, page by page, all at once, and as an iterator.
    soql = "SELECT Id, LastName, Account.Name, SystemModstamp FROM Contact ORDER BY SystemModstamp, Id"
    page = sf.query(soql)
    seen = [record["Id"] for record in page["records"]]
    while not page["done"]:
        page = sf.query_more(page["nextRecordsUrl"], identifier_is_url=True)
        seen += [record["Id"] for record in page["records"]]
    everything = sf.query_all(soql)
    assert everything["totalSize"] == contacts == len(seen) == len(set(seen))
    assert [record["Id"] for record in everything["records"]] == seen
    assert sum(1 for _ in sf.query_all_iter(soql)) == contacts
    stamp = datetime.strptime(everything["records"][0]["SystemModstamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
    since = sf.query(format_soql("SELECT COUNT() FROM Contact WHERE SystemModstamp > {}", stamp))
    assert since["totalSize"] == contacts - 1, since

    # Query by jobs of the Bulk API 2.0, part by part.
    bulk = sf.bulk2.Contact
    parts = list(bulk.query("SELECT Id, LastName, Account.Name FROM Contact", max_records=1000, wait=0.05))
    rows = [row for part in parts for row in csv.DictReader(io.StringIO(part))]
    assert len(parts) == -(-contacts // 1000) and sorted(row["Id"] for row in rows) == sorted(seen)
    by_id = {record["Id"]: record for record in everything["records"]}
    assert all(row["LastName"] == by_id[row["Id"]]["LastName"] for row in rows)
    assert all(row["Account.Name"] == (by_id[row["Id"]]["Account"] or {"Name": ""})["Name"] for row in rows)
    job = bulk._client.create_job("query", "SELECT Id FROM Contact")
    assert job["state"] == "UploadComplete", job
    assert bulk._client.abort_job(job["id"], True)["state"] == "Aborted"
    # Its own delete_job reads JSON from the published 204, which has no body.
    gone = sf.session.delete(f"{sf.base_url}jobs/query/{job['id']}", headers=sf.headers)
    assert (gone.status_code, gone.text) == (204, "")
    refused(SalesforceResourceNotFound, lambda: bulk._client.get_job(job["id"], True))
    compound = "SELECT MailingAddress FROM Contact"
    unserved = refused(SalesforceMalformedRequest, lambda: list(bulk.query(compound, wait=0.05)))
    assert unserved.content[0]["errorCode"] == "FUNCTIONALITY_NOT_ENABLED", unserved

    # Create, read, update, upsert, delete.
    name = "O'Brien \\ \"Śmith\", Jr."
    made = sf.Contact.create({"LastName": name, "Email": "brien@example.com", "LTV__c": 12.5})
    assert made["success"] is True and made["errors"] == []
    assert sf.Contact.get(made["id"])["LastName"] == name
    by_name = sf.query(format_soql("SELECT Id FROM Contact WHERE LastName = {}", name))
    assert [record["Id"] for record in by_name["records"]] == [made["id"]]
    assert sf.Contact.update(made["id"], {"External_Id__c": "py/1", "HasOptedOutOfEmail": True}) == 204
    assert sf.Contact.upsert("External_Id__c/py%2F1", {"Title": "CEO"}) == 200
    assert sf.Contact.upsert("External_Id__c/py-2", {"LastName": "Second"}) == 201
    assert sf.Contact.get_by_custom_id("External_Id__c", "py/1")["Title"] == "CEO"
    begun = datetime.now(timezone.utc) - timedelta(days=1)
    ended = datetime.now(timezone.utc) + timedelta(minutes=5)
    assert made["id"] in sf.Contact.updated(begun, ended)["ids"]
    assert sf.Contact.delete(made["id"]) == 204
    assert made["id"] in [each["id"] for each in sf.Contact.deleted(begun, ended)["deletedRecords"]]
    assert sf.query(f"SELECT Id FROM Contact WHERE Id = '{made['id']}'")["totalSize"] == 0
    gone = sf.query_all(f"SELECT Id, IsDeleted FROM Contact WHERE Id = '{made['id']}'", include_deleted=True)
    assert gone["records"][0]["IsDeleted"] is True

    # Limits.
    limits = sf.limits()["DailyApiRequests"]
    usage = sf.api_usage["api-usage"]
    assert int(usage.total) == limits["Max"] and int(usage.used) == limits["Max"] - limits["Remaining"], usage

    # Errors.
    malformed = refused(SalesforceMalformedRequest, lambda: sf.query("SELECT Nothing__c FROM Contact"))
    assert malformed.content[0]["errorCode"] == "INVALID_FIELD", malformed.content
    quoted = f"SELECT Id FROM Contact WHERE SystemModstamp > '{stamp.isoformat()}'"
    assert refused(SalesforceMalformedRequest, lambda: sf.query(quoted)).content[0]["errorCode"] == "INVALID_FIELD"
    refused(SalesforceResourceNotFound, lambda: sf.Contact.get("003000000000000AAA"))
    refused(SalesforceMalformedRequest, lambda: sf.Contact.create({"FirstName": "Nameless"}))
    stranger = Salesforce(instance=SIMULATOR.netloc, session_id="00D!no", session=session(), version="62.0")
    expired = refused(SalesforceExpiredSession, lambda: stranger.query("SELECT Id FROM Contact"))
    assert expired.content == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


if __name__ == "__main__":
    sys.exit(main())
