package smtest

import (
	"errors"
	"slices"
	"time"
)

// shrinkRuns is how often a check that failed is run again at most, to find a script of few commands that fails it too.
const shrinkRuns = 300

// shrinker looks for a small script that breaks a promise. Every script that it keeps was seen to do so; a machine that
// leaves things to chance may pass with it the next time.
type shrinker struct {
	suite *suite
	check check
	runs  int // that may still be made

	// A thorough run compares states after every command, which tells where they part. It takes more snapshots than a server
	// would, which can also heal a machine; then no run is thorough.
	thorough bool

	until time.Time
	err   error
}

// spot is a place of the script at which a part of a check does something, and another one: how many commands are before them.
// They go with the commands that are left out; those which a check chooses by the length of the script would be elsewhere.
type spot struct {
	part      string
	at, other int
}

// broke notes the place of a failure.
func (s *suite) broke(part string, at, other int, err error) error {
	if err != nil {
		s.broken = spot{part, at, other}
	}
	return err
}

// place is where that part was broken before commands were left out, or else the usual place.
func (s *suite) place(part string, usual int) int {
	if s.broken.part == part {
		return s.broken.at
	}
	return usual
}

// without is the spot when the commands between from and to are left out.
func (p spot) without(from, to int) spot {
	for _, n := range []*int{&p.at, &p.other} {
		*n -= min(to, max(*n, from)) - from
	}
	return p
}

// shrink returns the finding of the smallest script that was found to fail the check as well.
func (s *suite) shrink(c check, err error) Finding {
	if c.whole || isStuck(err) || c.promise(err) == PromiseFactory || errors.Is(err, errBeside) {
		return s.finding(c, err)
	}
	k := &shrinker{suite: s, check: c, runs: shrinkRuns, until: time.Now().Add(s.options.Timeout / 4), err: err}
	k.thorough = true
	k.thorough = k.try(s.script, s.broken)
	// A second look at single commands is for machines that leave things to chance: the first one may have passed by it.
	for size, looks := len(s.script)/2, 0; size > 0; {
		before := len(k.suite.script)
		k.cut(size)
		switch {
		case size == 1 && len(k.suite.script) == before && looks == 0:
			looks++
		case len(k.suite.script) == before || size > max(1, len(k.suite.script)/2):
			size /= 2
		}
	}
	k.mend()
	return k.suite.finding(c, k.err)
}

// mend undoes the damage of the commands where it does not matter.
func (k *shrinker) mend() {
	for i := range k.suite.script {
		if k.suite.script[i].damage == "" {
			continue
		}
		script := slices.Clone(k.suite.script)
		script[i].entry.Command, script[i].damage = script[i].sound, ""
		k.try(script, k.suite.broken)
	}
}

// cut leaves out size commands at a time, from the end on, which is where what does not matter any more is.
func (k *shrinker) cut(size int) {
	for end := len(k.suite.script); end > 0 && k.runs > 0; end -= size {
		from, to := max(0, end-size), min(end, len(k.suite.script))
		script := slices.Concat(k.suite.script[:from], k.suite.script[to:])
		for i := range script {
			script[i].number = i
		}
		if len(script) > 0 {
			k.try(script, k.suite.broken.without(from, to))
		}
	}
}

// try runs the check on a script, there first, and keeps the script if it fails.
func (k *shrinker) try(script []step, there spot) bool {
	if time.Now().After(k.until) {
		k.runs = 0
	}
	if k.runs <= 0 {
		return false
	}
	k.runs--
	s := &suite{factory: k.suite.factory, options: k.suite.options, queries: k.suite.queries, watch: new(stopwatch), script: script, thorough: k.thorough, shrinking: true, broken: there}
	err := s.again(k.check, k.check.promise(k.err))
	if err == nil || isPanic(err) != isPanic(k.err) || k.check.promise(err) != k.check.promise(k.err) {
		return false
	}
	s.thorough = false
	k.suite, k.err = s, err
	return true
}

// again runs a check, and before it what it rests on. Only a failure of the check itself counts, or one of the same promise.
func (s *suite) again(c check, promise string) error {
	for i, first := range checks {
		if i == 1 {
			s.options.Pass()
		}
		if first.name == c.name {
			return s.failure(c)
		}
		if !first.first {
			continue
		}
		if err := s.failure(first); err != nil && first.promise(err) == promise {
			return err
		} else if err != nil {
			return nil
		}
	}
	return nil
}

// failure runs a check and returns what it found about the machine; one that is stuck does not count, because it takes
// too long to be tried often.
func (s *suite) failure(c check) error {
	err := s.inTime(c)
	if isStuck(err) {
		return nil
	}
	return err
}
