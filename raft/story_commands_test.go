package raft

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// story is a script under way.
type story struct {
	t      *testing.T
	c      *cluster
	taking SnapshotMeta
}

// storyCommands are the words of a script. A server is named by its id, "all" means every one.
var storyCommands = map[string]func(s *story, words []string, options map[string]string){
	// servers N [founders=N | voters=N] [drift=PPM] [key=value ...]: a cluster of N servers with empty disks; nobody runs yet. With
	// voters the first N of them are born as a group, and the others are to join
	"servers": (*story).servers,
	// given IDS [log=terms] [term=T] [vote=ID] [commit=I] [snapshot=I] [members=M]: born, and with this on disk. A term
	// followed by m is a membership entry, which brings M, written as voters/outgoing voters/learners, each id@store
	"given": (*story).given,
	// start IDS, crash ID [saves=N]: of the saves under way the first N come to the disk; wipe ID: another disk, formatted
	"start": func(s *story, words []string, _ map[string]string) { s.each(words, (*host).start) },
	"crash": func(s *story, words []string, o map[string]string) {
		s.live(words, func(h *host) { h.crash(atoi("0" + o["saves"])) })
	},
	"wipe": (*story).wipe,
	// forget ID from=I: a stopped server's disk loses the end of its log
	"forget": func(s *story, words []string, o map[string]string) {
		s.each(words, func(h *host) {
			h.disk.log.put(Index(atoi(o["from"])), nil)
			h.disk.commit = min(h.disk.commit, h.disk.log.next()-1)
		})
	},
	// wait D: time passes. timeout IDS: their election timers run out now
	"wait": func(s *story, words []string, _ map[string]string) { s.c.runFor(s.duration(words[0])) },
	"timeout": func(s *story, words []string, _ map[string]string) {
		s.live(words, (*host).timeout)
	},
	// pause ID D: the server gets no turn for so long
	"pause": func(s *story, words []string, _ map[string]string) {
		s.each(words[:1], func(h *host) { h.pausedUntil = s.c.now + s.duration(words[1]) })
	},
	"propose": (*story).propose, // propose ID [count=N]
	// transfer ID [to=ID], change ID [add=ID] [learn=ID] [promote=ID] [demote=ID] [remove=ID], cancel ID, lease ID
	"transfer": (*story).transfer,
	"change":   (*story).change,
	"cancel": func(s *story, words []string, _ map[string]string) {
		s.live(words, func(h *host) { s.answer(h, h.node.ChangeMembership(s.c.now, MembershipChange{Cancel: true})) })
	},
	"lease": func(s *story, words []string, _ map[string]string) {
		s.live(words, func(h *host) {
			index, ok := h.node.Lease(s.c.now)
			s.c.logf("%d: lease %v at %d", h.id, ok, index)
		})
	},
	"read":     (*story).read,    // read ID READ...
	"cut":      (*story).cut,     // cut A B, or A->B: messages are lost
	"isolate":  (*story).isolate, // isolate ID: cut from everybody
	"hold":     (*story).hold,    // hold A->B: messages are kept back
	"release":  (*story).release, // release A->B [count=N] [order=backwards] [copies=N]: held ones arrive; later ones pass
	"heal":     func(s *story, _ []string, _ map[string]string) { clear(s.c.net.cut) },
	"disk":     (*story).disk, // disk ID stalls | saves | works
	"damage":   func(s *story, words []string, _ map[string]string) { s.each(words, func(h *host) { h.damaged = true }) },
	"snapshot": (*story).snapshot, // snapshot IDS: each takes one of what it has applied
	"begin-snapshot": func(s *story, words []string, _ map[string]string) {
		s.each(words, func(h *host) { s.taking, _ = h.takeSnapshot() })
	},
	"end-snapshot": func(s *story, words []string, _ map[string]string) {
		s.each(words, func(h *host) {
			h.snapshotted(s.taking)
			h.endTurn()
		})
	},
	"compact": (*story).compact, // compact ID through=I
	"fills":   (*story).fills,   // fills old=N [take=D]: what lies further back than N entries is read from the disk, in D
	"due":     (*story).due,     // due D: the state machines have something due at each multiple of it
	"show":    func(s *story, words []string, _ map[string]string) { s.hiding(words, false) },
	"hide":    func(s *story, words []string, _ map[string]string) { s.hiding(words, true) },
	"time": func(s *story, _ []string, _ map[string]string) {
		for _, h := range s.c.hosts {
			if h.node == nil {
				continue
			}
			s.c.logf("%d: cluster time %v", h.id, time.Duration(h.node.ClusterTime(s.c.now)).Round(10*time.Millisecond))
		}
	},
	"say":  (*story).say, // say A->B TYPE [field=value ...]: a message out of nowhere
	"look": (*story).look,
	"logs": (*story).logs, // the terms of every log, with m for memberships
}

// play carries a command out and returns what happened.
func (s *story) play(command string) string {
	if s.c != nil {
		s.c.transcript.Reset()
	}
	command, quietly := strings.CutPrefix(command, "quietly ") // what happens is known from another story
	words, options := []string{}, map[string]string{}
	for _, word := range strings.Fields(command) {
		if key, value, ok := strings.Cut(word, "="); ok {
			options[key] = value
		} else {
			words = append(words, word)
		}
	}
	do := storyCommands[words[0]]
	require.NotNil(s.t, do, "no command %q", words[0])
	do(s, words[1:], options)
	if quietly {
		return ""
	}
	return s.c.transcript.String()
}

func (s *story) duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	require.NoError(s.t, err)
	return d
}

func (s *story) each(words []string, do func(h *host)) {
	for _, h := range s.c.hosts {
		if slices.Contains(words, "all") || slices.Contains(words, strconv.Itoa(int(h.id))) {
			do(h)
		}
	}
}

// live is each, for those that run.
func (s *story) live(words []string, do func(h *host)) {
	s.each(words, func(h *host) {
		if h.node != nil {
			do(h)
		}
	})
}

func way(word string) [2]ServerID {
	from, to, _ := strings.Cut(word, "->")
	return [2]ServerID{ServerID(atoi(from)), ServerID(atoi(to))}
}

func (s *story) servers(words []string, o map[string]string) {
	s.c = newCluster(s.t, 1)
	s.c.transcript = &strings.Builder{}
	s.c.hide = map[string]bool{"HeartbeatRequest": true, "HeartbeatResponse": true}
	count := atoi(words[0])
	founders := count
	if o["founders"] != "" {
		founders = atoi(o["founders"])
	}
	if o["voters"] != "" {
		founders = 0
	}
	s.c.addHosts(count, founders, func(g *Config) {
		g.ClockDriftPPM = uint32(atoi("0" + o["drift"]))
		for key, field := range map[string]*int{
			"messageBytes": &g.MessageBytesMax, "inflightBytes": &g.InflightBytesMax,
			"inflightMessages": &g.InflightMessagesMax, "uncommittedBytes": &g.UncommittedBytesMax,
		} {
			if o[key] != "" {
				*field = atoi(o[key])
			}
		}
	})
	if o["voters"] != "" {
		m := Membership{}
		for _, h := range s.c.hosts[:atoi(o["voters"])] {
			m.Voters = append(m.Voters, Member{ID: h.id, Store: h.disk.store})
		}
		for _, h := range s.c.hosts[:len(m.Voters)] {
			h.disk.birth = Birth{Membership: m, Complete: true}
		}
	}
}

// answer logs what a server said to a call, and ends its turn.
func (s *story) answer(h *host, err error) {
	if err != nil {
		s.c.logf("%d: refused: %v", h.id, err)
	}
	h.endTurn()
}

func (s *story) transfer(words []string, o map[string]string) {
	s.live(words, func(h *host) { s.answer(h, h.node.TransferLeadership(s.c.now, ServerID(atoi("0"+o["to"])))) })
}

func (s *story) change(words []string, o map[string]string) {
	var c MembershipChange
	for _, kind := range []struct {
		word string
		kind ChangeKind
	}{
		{"add", ChangeAddVoter}, {"learn", ChangeAddLearner}, {"promote", ChangePromote}, {"demote", ChangeDemote}, {"remove", ChangeRemove},
	} {
		if o[kind.word] != "" {
			id := ServerID(atoi(o[kind.word]))
			c.Changes = append(c.Changes, Change{Kind: kind.kind, Member: Member{ID: id, Store: storeOf(id, 1)}})
		}
	}
	s.live(words, func(h *host) { s.answer(h, h.node.ChangeMembership(s.c.now, c)) })
}

func (s *story) given(words []string, o map[string]string) {
	if s.c.hosts[0].disk.birth.IsZero() {
		s.c.presetBirth()
	}
	s.each(words, func(h *host) {
		if o["term"] != "" {
			h.disk.hard.Term = Term(atoi(o["term"]))
		}
		if o["vote"] != "" {
			h.disk.hard.Vote = ServerID(atoi(o["vote"]))
		}
		var entries []entry
		for k, word := range strings.FieldsFunc(o["log"], func(r rune) bool { return r == ',' }) {
			term, isMembership := strings.CutSuffix(word, "m")
			e := entry{term: Term(atoi(term)), kind: KindCommand, body: []byte{byte(k)}}
			if isMembership {
				e.kind, e.body = KindMembership, []byte(o["members"])
			}
			entries = append(entries, e)
		}
		h.disk.log.put(1, chained(0, entries))
		h.disk.commit = Index(atoi("0" + o["commit"]))
		if o["snapshot"] != "" {
			e, _ := h.disk.log.at(Index(atoi(o["snapshot"])))
			h.disk.snapshot = SnapshotMeta{
				Group: DefaultGroup, Index: Index(atoi(o["snapshot"])), Term: e.term, Chain: e.chain,
				Membership: h.disk.birth.Membership, Size: 1,
			}
			h.disk.log.compact(h.disk.snapshot.Index)
		}
	})
}

func (s *story) wipe(words []string, _ map[string]string) {
	s.each(words, func(h *host) {
		if h.node != nil {
			h.crash(0)
		}
		h.life++
		h.disk = disk{log: logbook{first: 1}}
	})
}

func (s *story) propose(words []string, o map[string]string) {
	s.live(words, func(h *host) {
		count := 1
		if o["count"] != "" {
			count = atoi(o["count"])
		}
		first, err := h.propose(uint32(count))
		if err != nil {
			s.c.logf("%d: refused: %v", h.id, err)
		} else {
			s.c.logf("%d: takes [%d,%d)", h.id, first, first+Index(count))
		}
		h.endTurn()
	})
}

func (s *story) read(words []string, _ map[string]string) {
	s.live(words[:1], func(h *host) {
		for _, id := range words[1:] {
			if err := h.read(ReadID(atoi(id))); err != nil {
				s.c.logf("%d: refused: %v", h.id, err)
			}
		}
		h.endTurn()
	})
}

func (s *story) cut(words []string, _ map[string]string) {
	if strings.Contains(words[0], "->") {
		for _, word := range words {
			s.c.net.cut[way(word)] = true
		}
		return
	}
	a, b := ServerID(atoi(words[0])), ServerID(atoi(words[1]))
	s.c.net.cut[[2]ServerID{a, b}], s.c.net.cut[[2]ServerID{b, a}] = true, true
}

func (s *story) isolate(words []string, _ map[string]string) {
	s.each(words, func(h *host) {
		for _, other := range s.c.hosts {
			s.c.net.cut[[2]ServerID{h.id, other.id}], s.c.net.cut[[2]ServerID{other.id, h.id}] = true, true
		}
	})
}

func (s *story) hold(words []string, _ map[string]string) {
	for _, word := range words {
		s.c.net.hold[way(word)] = true
	}
}

func (s *story) release(words []string, o map[string]string) {
	for _, word := range words {
		w := way(word)
		again := slices.Clone(s.c.net.held)
		for copies := atoi("0" + o["copies"]); copies > 1; copies-- {
			s.c.release(w[0], w[1], o["order"] == "backwards", atoi("0"+o["count"]))
			s.c.net.held = slices.Clone(again)
		}
		s.c.release(w[0], w[1], o["order"] == "backwards", atoi("0"+o["count"]))
		if o["count"] == "" {
			delete(s.c.net.hold, w)
		}
	}
}

func (s *story) disk(words []string, _ map[string]string) {
	s.live(words[:1], func(h *host) {
		switch words[1] {
		case "stalls":
			h.diskStalled = true
		case "saves":
			h.saved()
			h.endTurn()
		case "works":
			h.diskStalled = false
			for range h.pending {
				h.scheduleSave()
			}
		default:
			s.t.Fatalf("a disk that %s", words[1])
		}
	})
}

func (s *story) snapshot(words []string, _ map[string]string) {
	s.live(words, func(h *host) {
		meta, ok := h.takeSnapshot()
		require.True(s.t, ok, "server %d has nothing to take a snapshot of", h.id)
		h.snapshotted(meta)
		h.endTurn()
	})
}

func (s *story) compact(words []string, o map[string]string) {
	s.live(words, func(h *host) {
		h.compactTo(Index(atoi(o["through"])))
		h.endTurn()
	})
}

func (s *story) fills(_ []string, o map[string]string) {
	s.c.pace.cacheLag = atoi(o["old"])
	if o["take"] != "" {
		d := s.duration(o["take"])
		s.c.pace.fill = d
	}
}

func (s *story) due(words []string, _ map[string]string) {
	for _, h := range s.c.hosts {
		h.dueEvery = int64(s.duration(words[0]))
		if h.node != nil {
			h.applied()
			h.endTurn()
		}
	}
}

func (s *story) hiding(words []string, hide bool) {
	for _, word := range words {
		if word == "heartbeats" {
			s.c.hide["HeartbeatRequest"], s.c.hide["HeartbeatResponse"] = hide, hide
			continue
		}
		s.c.hide[word] = hide
	}
}

func (s *story) look(_ []string, _ map[string]string) {
	for _, h := range s.c.hosts {
		s.c.logf("%s", h.look())
	}
}

func (s *story) logs(_ []string, _ map[string]string) {
	for _, h := range s.c.hosts {
		if h.node == nil {
			continue
		}
		s.c.logf("%d: %s", h.id, describeLog(h))
	}
}

// say makes up a message. What it is not told it leaves zero.
func (s *story) say(words []string, o map[string]string) {
	w := way(words[0])
	m := Message{Group: DefaultGroup, From: w[0], To: w[1], FromStore: s.c.host(w[0]).disk.store, FromRun: s.c.host(w[0]).run}
	for t := MessagePreVoteRequest; t <= MessageTransferRequest; t++ {
		if t.String() == words[1] {
			m.Type = t
		}
	}
	require.NotZero(s.t, m.Type, "no message type %q", words[1])
	numbers := map[string]func(v int){
		"term": func(v int) { m.Term = Term(v) }, "round": func(v int) { m.Round = Round(v) },
		"prev":     func(v int) { m.PrevIndex, m.First, m.Next = Index(v), Index(v+1), Index(v+1) },
		"prevTerm": func(v int) { m.PrevTerm = Term(v) }, "commit": func(v int) { m.Commit = Index(v) },
		"last": func(v int) { m.LastIndex = Index(v) }, "lastTerm": func(v int) { m.LastTerm = Term(v) },
		"forced": func(v int) { m.Forced = v != 0 }, "store": func(v int) { m.FromStore = storeOf(w[0], v) },
		"match": func(v int) { m.Match = Index(v) },
		"snapshot": func(v int) {
			m.Snapshot = SnapshotMeta{Group: DefaultGroup, Index: Index(v), Term: m.Term, Membership: s.c.host(w[1]).disk.birth.Membership}
		},
	}
	for _, key := range slices.Sorted(maps.Keys(o)) {
		require.Contains(s.t, numbers, key)
	}
	for _, key := range []string{"term", "prev", "prevTerm", "commit", "round", "last", "lastTerm", "forced", "store", "match", "snapshot"} {
		if o[key] != "" {
			numbers[key](atoi(o[key]))
		}
	}
	s.c.logf("  %d->%d %s  (made up)", w[0], w[1], describe(m))
	s.c.deliver(m, s.c.now)
	s.c.runFor(0)
}
