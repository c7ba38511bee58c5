package main

import "fmt"

// term is one summand of the memory that a configuration allows.
type term struct {
	name  string
	bytes int64
}

// unreadBytesMax is the default of server.ClientOptions.UnreadBytesMax.
const unreadBytesMax = 16 << 20

// bounds are those in use with one group, one live follower and one client that does not read, each counted once although
// queues share their bytes.
func (t *trial) bounds() []term {
	z := t.config.Sizes
	all := []term{
		{"inbox", int64(z.InboxBytesMax)}, {"uncommitted", int64(z.UncommittedBytesMax)}, {"unapplied", int64(z.UnappliedBytesMax)},
		{"tail", int64(z.TailBytesMax)}, {"in flight to the live follower", int64(z.InflightBytesMax)},
	}
	if t.mutes {
		all = append(all, term{"answers that one client does not read", unreadBytesMax})
	}
	return all
}

// memtables is how many the log may have at once (pebblelog.Options).
const memtables = 2

// memoryFactor is what a garbage-collected process may take above its bounds.
const memoryFactor = 1.5

func (t *trial) report(s seen) report {
	columns := []string{"queue of the leader", "bound", "highest looked at", "highest counted", "refused", ""}
	var rows [][]string
	over := 0
	for _, q := range s.Queues {
		verdict := "within"
		if max(q.Sampled, q.Counted) > q.Max {
			verdict = "ABOVE"
			over++
		}
		rows = append(rows, []string{q.Name, mebibytes(q.Max), mebibytes(q.Sampled), mebibytes(q.Counted), count(float64(q.Refused)), verdict})
	}
	var sum int64
	var rest [][]string
	for _, b := range t.bounds() {
		sum += b.bytes
		rest = append(rest, []string{"bound: " + b.name, mebibytes(b.bytes)})
	}
	log := int64(memtables*t.config.Log.MemtableBytes + t.config.Log.CacheBytes)
	allowed := int64(memoryFactor*float64(sum)) + log
	rest = append(rest, []string{"sum of the bounds in use", mebibytes(sum)},
		[]string{"the log's memtables and cache", mebibytes(log)},
		[]string{"**allowed above idle**", "**" + mebibytes(allowed) + "**"},
		[]string{"resident when idle", mebibytes(s.Idle)},
		[]string{"highest resident", mebibytes(s.Peak)},
		[]string{"of it live, at its highest, after a garbage collection", mebibytes(s.Live)},
		[]string{"of it outside of the Go runtime, at its highest", mebibytes(s.Outside)},
		[]string{"**used above idle**", "**" + mebibytes(s.Peak-s.Idle) + "**"})
	used := s.Peak - s.Idle
	note := ""
	if s.Led < s.Samples {
		note = fmt.Sprintf("it led in %.0f %% of the time only", 100*float64(s.Led)/float64(max(s.Samples, 1)))
	}
	var r report
	r.aims = []aim{
		{what: "leader's queues stay within their bounds", got: fmt.Sprintf("%d of %d above", over, len(s.Queues)), want: "none above", met: over == 0, note: note},
		{what: "leader's memory above what it takes when idle", got: mebibytes(used), want: "at most " + mebibytes(allowed), met: used <= allowed, note: note},
	}
	story := fmt.Sprintf("%s samples of the leader's status; %s commands of 64 KiB were answered, %s had no known outcome, %s were refused to the end;\n"+
		"the client that does not read sent %s queries for 1 MiB each and was dropped %s times.",
		count(float64(s.Samples)), count(float64(t.storm.answered.Load())), count(float64(t.storm.unknown.Load())), count(float64(t.storm.refused.Load())),
		count(float64(t.mute.sent.Load())), count(float64(t.mute.dropped.Load())))
	what := []string{"the leader's memory", ""}
	r.text = textTable(columns, rows, 1) + "\n" + textTable(what, plain(rest), 1) + "\n" + story + "\n"
	r.markdown = story + "\n\n" + markdownTable(columns, rows, 1) + "\n" + markdownTable(what, rest, 1)
	return r
}

// plain takes the stars off, for a terminal.
func plain(rows [][]string) [][]string {
	var all [][]string
	for _, row := range rows {
		var cells []string
		for _, cell := range row {
			if len(cell) > 4 && cell[:2] == "**" {
				cell = cell[2 : len(cell)-2]
			}
			cells = append(cells, cell)
		}
		all = append(all, cells)
	}
	return all
}
