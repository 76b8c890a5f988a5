-- The content of a store by the present schema: a line for each task, group, event, delivery and dead letter.
-- Events are named by their id, since that is what must never change.
SELECT 'task ' || account || ' ' || region || ' ' || operation || ' ' || CASE WHEN typeof(id) = 'integer' THEN printf('%llu', id) ELSE id END || ' '
    || coalesce(outcome, reason, 'open') || CASE WHEN ended_at IS NULL AND polls = 0 THEN ' never-polled' ELSE '' END
    FROM task JOIN target ON target_row = target
UNION ALL
SELECT 'group ' || name || ' ' || round || CASE WHEN finished_at IS NULL THEN ' open' ELSE ' finished' END FROM task_group
UNION ALL
SELECT 'event ' || lower(hex(event_id)) || ' ' || kind FROM event
UNION ALL
SELECT 'delivery ' || lower(hex(event_id)) || ' ' || sink FROM delivery JOIN event USING (seq)
UNION ALL
SELECT 'dead-letter ' || lower(hex(event_id)) || ' ' || sink FROM dead_letter JOIN event USING (seq)
ORDER BY 1;
