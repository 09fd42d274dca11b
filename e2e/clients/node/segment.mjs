// What users of @segment/analytics-node do: identify, group, track, page, alias, and flush before they leave.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

// Found through NODE_PATH: the libraries lie in the cache folder, not beside this script.
const { Analytics } = createRequire(import.meta.url)('@segment/analytics-node');

const USERS = 250;
const errors = [];
const analytics = new Analytics({
  writeKey: process.env.SEGMENT_WRITE_KEY,
  host: process.env.SEGMENT_URL,
  maxEventsInBatch: 100,
});
analytics.on('error', (error) => errors.push(error));
for (let number = 0; number < USERS; number += 1) {
  const userId = `node-${number}`;
  const context = { consent: { categoryPreferences: { marketing_email: number % 2 === 0 } } };
  analytics.identify({ userId, traits: { email: `${userId}@example.com`, plan: "Łukasz's" }, context });
  analytics.group({ userId, groupId: '001', traits: { name: 'Acme' } });
  analytics.track({ userId, event: 'Ordered', properties: { amount: 1.5 }, timestamp: '2026-05-04T00:00:00Z' });
}
analytics.page({ anonymousId: 'node-anonymous', name: 'Home' });
analytics.alias({ userId: 'node-0', previousId: 'node-anonymous' });
// What was handed over twice is known by its id.
analytics.identify({ userId: 'node-again', messageId: 'node-again-1' });
analytics.identify({ userId: 'node-again', messageId: 'node-again-1' });
await analytics.closeAndFlush();
assert.deepEqual(errors, []);
