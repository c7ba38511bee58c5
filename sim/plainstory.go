package sim

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// A run of a user's machine has two stories. The full one has every message; it is for a broken rule of oarlock's own. The plain
// one, for a broken promise of the machine, has what its author needs: commands, queries, snapshots, and what went wrong around them.

// plainNote writes a line of the plain story.
func (w *world) plainNote(format string, args ...any) {
	if w.plain == nil {
		return
	}
	fmt.Fprintf(w.plain, "%10.3f ", (w.now - startTime).Seconds())
	fmt.Fprintf(w.plain, format, args...)
	w.plain.WriteByte('\n')
}

// fullNote writes a line of the full story alone.
func (w *world) fullNote(format string, args ...any) {
	if w.story == nil {
		return
	}
	fmt.Fprintf(w.story, "%12.6f ", (w.now - startTime).Seconds())
	fmt.Fprintf(w.story, format, args...)
	w.story.WriteByte('\n')
}

// beginPlain begins the plain story.
func (w *world) beginPlain() {
	p := w.plan
	w.plain = new(strings.Builder)
	fmt.Fprintf(w.plain, "seed %d: %d servers, %d clients, %d calls and %d faults planned\n", p.Seed, p.Servers, len(p.Clients), len(p.Calls), len(p.Faults))
	for i := range p.Faults {
		fmt.Fprintf(w.plain, "  %v\n", &p.Faults[i])
	}
}

// storyTold is the story that suits what has failed.
func (w *world) storyTold() string {
	switch {
	case w.plain != nil && w.guests.failed != nil:
		return w.plain.String()
	case w.story != nil:
		return w.story.String()
	}
	return ""
}

// plainCall tells of a client's call, if it is for the user's machine.
func (c *simClient) plainCall(k *op, p *Call) {
	switch {
	case k.kind < CallRead:
		c.w.plainNote("client %d, call %d: sends the command %s", c.number, k.number, text(p.Input))
	case k.kind < CallBarrier:
		c.w.plainNote("client %d, call %d: sends the query %s", c.number, k.number, text(p.Input))
	}
}

// plainEnd tells of a call's end, and of a command's result, which is the user's machine's.
func (k *op) plainEnd() {
	w, how := k.group.w, "is answered"
	switch {
	case w.plain == nil || k.client == nil || k.kind >= CallBarrier: // or nobody has heard that it began
		return
	case k.err != nil:
		how = "ends with: " + firstLine(k.err)
	case k.executed > 0 && k.executed <= uint64(len(w.guests.changes)):
		how = "is answered with " + text(w.guests.changes[k.executed-1].result)
	}
	w.plainNote("call %d %s", k.number, how)
}

// plainEvent tells of an event that has to do with who leads, or with snapshots.
func (w *world) plainEvent(h *host, e *server.Event) {
	switch {
	case e.Kind == server.EventRole && e.Role == raft.RoleLeader:
		w.plainNote("server %v leads, in term %d", h, e.Term)
	case e.Kind == server.EventSnapshotFetch:
		w.plainNote("server %v fetches the snapshot of index %d from server %d", h, e.Index, e.Server)
	case e.Kind == server.EventTrouble:
		w.plainNote("server %v has trouble: %s", h, firstLine(e.Err))
	}
}

// plainChange tells of a command that a server has executed, or of what fell due there.
func (g *guests) plainChange(who *guest, e *guestEntry, result []byte, now guestChange) {
	what := fmt.Sprintf("executes what falls due by time %d, at index %d", e.Time, e.Index)
	if !e.expire {
		what = fmt.Sprintf("executes the command at index %d, %s, with the result %s", e.Index, text(e.Command), text(result))
	}
	if now.state.known {
		what += fmt.Sprintf("; its state has the hash %016x", now.state.sum)
	}
	g.w.plainNote("server %d %s", who.who, what)
}

// plainPlace says where a machine stands.
func (g *guests) plainPlace(count uint64) string {
	if count == 0 || count > uint64(len(g.changes)) {
		return "has executed nothing"
	}
	return fmt.Sprintf("has executed everything up to index %d", g.changes[count-1].entry.Index)
}

// textMax is how much of a command is shown as text.
const textMax = 100

// text is b as text in quotes if it can be printed, and otherwise as shown has it.
func text(b []byte) string {
	part := b[:min(len(b), textMax)]
	if len(b) == 0 || strings.ContainsFunc(string(part), func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsGraphic(r) }) {
		return shown(b)
	}
	quoted := fmt.Sprintf("%q", part)
	if len(part) < len(b) {
		quoted += fmt.Sprintf(" … (%d bytes)", len(b))
	}
	return quoted
}
