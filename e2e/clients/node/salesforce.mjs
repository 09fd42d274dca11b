// What users of jsforce do: log in, query with paging and by bulk jobs, describe, write, replicate, meet errors.

import assert from 'node:assert/strict';
import { createSign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Found through NODE_PATH: the libraries lie in the cache folder, not beside this script.
const jsforce = createRequire(import.meta.url)('jsforce');

const env = process.env;
const contacts = Number(env.SALESFORCE_CONTACTS);
const oauth2 = {
  loginUrl: env.SALESFORCE_URL,
  clientId: env.SALESFORCE_CLIENT_ID,
  clientSecret: env.SALESFORCE_CLIENT_SECRET,
};

function assertion() {
  const encoded = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const claims = {
    iss: oauth2.clientId,
    sub: env.SALESFORCE_USERNAME,
    aud: 'https://login.salesforce.com',
    exp: Math.floor(Date.now() / 1000) + 180,
  };
  const signed = `${encoded({ alg: 'RS256' })}.${encoded(claims)}`;
  const signature = createSign('RSA-SHA256').update(signed).sign(readFileSync(env.SALESFORCE_PRIVATE_KEY));
  return `${signed}.${signature.toString('base64url')}`;
}

const code = (errorCode) => (error) => {
  assert.equal(error.errorCode ?? error.name, errorCode, error.message);
  return true;
};

// Log in, by each of the flows that integrations use.
const conn = new jsforce.Connection({ oauth2, version: '62.0' });
const user = await conn.authorize({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: assertion() });
assert.equal(conn.instanceUrl, env.SALESFORCE_URL);
assert.match(user.id, /^005/);
const bySecret = new jsforce.Connection({ oauth2, version: '62.0' });
await bySecret.authorize({ grant_type: 'client_credentials' });
assert.equal((await bySecret.identity()).user_id, user.id);
const wrong = new jsforce.Connection({ oauth2: { ...oauth2, clientSecret: 'wrong' } });
await assert.rejects(wrong.authorize({ grant_type: 'client_credentials' }), code('invalid_client'));

// Describe.
const described = await conn.sobject('Contact').describe();
const fields = new Map(described.fields.map((field) => [field.name, field]));
assert.deepEqual([fields.get('SystemModstamp').type, fields.get('LastName').nillable], ['datetime', false]);
assert.ok((await conn.describeGlobal()).sobjects.some((each) => each.name === 'Opportunity'));

// Query, page by page, and all at once.
const soql = 'SELECT Id, LastName, Account.Name, SystemModstamp FROM Contact ORDER BY SystemModstamp, Id';
let page = await conn.query(soql);
const seen = page.records.map((record) => record.Id);
while (!page.done) {
  page = await conn.queryMore(page.nextRecordsUrl);
  seen.push(...page.records.map((record) => record.Id));
}
assert.equal(new Set(seen).size, contacts);
const everything = await conn.query(soql, { autoFetch: true, maxFetch: 1_000_000 });
assert.deepEqual(everything.records.map((record) => record.Id), seen);
const since = jsforce.SfDate.toDateTimeLiteral(new Date(everything.records[0].SystemModstamp));
const newer = await conn.sobject('Contact').count({ SystemModstamp: { $gt: since } });
assert.equal(newer, contacts - 1);
const found = await conn
  .sobject('Contact')
  .find({ HasOptedOutOfEmail: false, LastName: { $like: "o'%" } }, 'Id, LastName')
  .sort({ LastName: 1, Id: -1 })
  .limit(5);
assert.ok(found.length > 0 && found.every((record) => record.LastName.startsWith("O'")));

// Query by a job of the Bulk API 2.0.
const polling = { pollInterval: 50, pollTimeout: 60_000 };
const byJob = [];
for await (const record of await conn.bulk2.query('SELECT Id, LastName, SystemModstamp FROM Contact', polling)) {
  byJob.push(record);
}
assert.deepEqual(byJob.map((record) => record.Id).sort(), [...seen].sort());
assert.match(byJob[0].SystemModstamp, /^[0-9T:.-]+Z$/);
await assert.rejects(conn.bulk2.query('SELECT MailingAddress FROM Contact', polling), code('FUNCTIONALITY_NOT_ENABLED'));

// Create, read, update, upsert, delete; one and several.
const Contact = conn.sobject('Contact');
const made = await Contact.create({ LastName: 'Ünal "U", Jr.', LTV__c: 12.5 });
assert.ok(made.success);
const updated = await Contact.update({ Id: made.id, External_Id__c: 'js-1', Birthdate: '1990-01-31' });
assert.ok(updated.success);
const read = await Contact.retrieve(made.id);
assert.deepEqual([read.LastName, read.LTV__c, read.Birthdate], ['Ünal "U", Jr.', 12.5, '1990-01-31']);
const upserted = await Contact.upsert({ External_Id__c: 'js-1', Title: 'CEO' }, 'External_Id__c');
assert.ok(upserted.success);
const several = await Contact.create([{ LastName: 'One' }, { FirstName: 'Nameless' }, { LastName: 'Three' }]);
assert.deepEqual(several.map((each) => each.success), [true, false, true]);
const begun = new Date(Date.now() - 86_400_000);
const ended = new Date(Date.now() + 300_000);
assert.ok((await Contact.updated(begun, ended)).ids.includes(made.id));
assert.ok((await Contact.destroy(made.id)).success);
const deleted = await Contact.deleted(begun, ended);
assert.ok(deleted.deletedRecords.some((each) => each.id === made.id));
assert.equal((await conn.query(`SELECT Id FROM Contact WHERE Id = '${made.id}'`)).totalSize, 0);
const gone = await conn.query(`SELECT IsDeleted FROM Contact WHERE Id = '${made.id}'`, { scanAll: true });
assert.equal(gone.records[0].IsDeleted, true);

// Limits.
const limits = await conn.limits();
assert.equal(limits.DailyApiRequests.Max, conn.limitInfo.apiUsage.limit);

// Errors.
await assert.rejects(conn.query('SELECT Nothing__c FROM Contact'), code('INVALID_FIELD'));
await assert.rejects(conn.query('SELECT Id FROM Contact WHERE'), code('MALFORMED_QUERY'));
await assert.rejects(conn.query('SELECT Id FROM Nothing__c'), code('INVALID_TYPE'));
await assert.rejects(conn.queryMore('/services/data/v62.0/query/01gD0000002HU6KIAW-2000'), code('INVALID_QUERY_LOCATOR'));
await assert.rejects(Contact.create({ FirstName: 'Nameless' }), code('REQUIRED_FIELD_MISSING'));
await assert.rejects(Contact.retrieve('003000000000000AAA'), code('NOT_FOUND'));
const stranger = new jsforce.Connection({ instanceUrl: env.SALESFORCE_URL, accessToken: '00D!no', version: '62.0' });
await assert.rejects(stranger.query('SELECT Id FROM Contact'), code('INVALID_SESSION_ID'));
