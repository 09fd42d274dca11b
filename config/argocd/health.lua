-- The health of each of Ferrygate's kinds, by the conditions that all four have.
-- A suspended resource holds a later sync wave back, as a suspended Deployment does.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the controller has not seen this generation yet"}
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready or {}
local stalled = conditions.Stalled or {}
local suspended = conditions.Suspended or {}

if stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if suspended.status == "True" then
  return {status = "Suspended", message = suspended.message}
end
if ready.reason == "Suspended" then
  return {status = "Suspended", message = ready.message}
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
return {status = "Progressing", message = ready.message or "the controller has not said yet whether this is ready"}
