package smtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/oarlock/oarlock/statemachine"
)

// step is one command of the script.
type step struct {
	number int
	entry  statemachine.Entry
	damage string // how the command was damaged, if it was
	sound  []byte // what it was before
}

func (s step) String() string {
	text := fmt.Sprintf("command %d (index %d, time %d, %s", s.number, s.entry.Index, s.entry.Time, shown(s.entry.Command))
	if s.damage != "" {
		text += ", " + s.damage
	}
	return text + ")"
}

// clockIndex is where a clock entry that follows the step stands: between two commands there is always room for one.
func (s step) clockIndex() uint64 { return s.entry.Index + 1 }

// newScript makes the commands of a run. Indexes have gaps, terms grow, and cluster time stands still for some commands
// and leaps for others, as in a real log.
func newScript(o Options) []step {
	r := rand.New(rand.NewPCG(o.Seed, 0))
	steps := make([]step, o.Commands)
	entry := statemachine.Entry{Index: 1, Term: 1}
	for i := range steps {
		entry.Index += 2 + uint64(r.IntN(4)/3)
		switch r.IntN(8) {
		case 0:
			entry.Time += r.Int64N(3_600_000_000_000)
		case 1, 2, 3:
			entry.Time += r.Int64N(1_000)
		case 4:
			entry.Term += uint64(r.IntN(2))
		}
		entry.Command = bytes.Clone(o.command(r))
		steps[i] = step{number: i, entry: entry}
		if r.IntN(10) == 0 {
			steps[i].sound = entry.Command
			steps[i].entry.Command, steps[i].damage = damage(r, entry.Command)
		}
	}
	return steps
}

// Generators returns the functions that make the commands and the queries of o, whichever of its fields say how.
func (o Options) Generators() (command, query func(r *rand.Rand) []byte) { return o.command, o.query }

func (o Options) command(r *rand.Rand) []byte {
	switch {
	case o.Command != nil:
		return generate("Command", o.Command, r)
	case len(o.Examples) > 0:
		return likeOne(r, o.Examples)
	}
	return randomBytes(r, 33)
}

func (o Options) query(r *rand.Rand) []byte {
	switch {
	case o.Query != nil:
		return generate("Query", o.Query, r)
	case len(o.QueryExamples) > 0:
		return likeOne(r, o.QueryExamples)
	}
	return o.command(r)
}

// likeOne returns one of the examples, or, one time in three, the beginning of one with the end of another.
func likeOne(r *rand.Rand, examples [][]byte) []byte {
	one := examples[r.IntN(len(examples))]
	if r.IntN(3) > 0 {
		return one
	}
	other := examples[r.IntN(len(examples))]
	cut := r.IntN(len(one) + 1)
	return append(bytes.Clone(one[:cut]), other[min(cut, len(other)):]...)
}

func randomBytes(r *rand.Rand, below int) []byte {
	b := make([]byte, r.IntN(below))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// damage makes something of b that a client should not have sent.
func damage(r *rand.Rand, b []byte) ([]byte, string) {
	b = bytes.Clone(b)
	kind := r.IntN(4)
	if len(b) == 0 {
		kind = 3
	}
	switch kind {
	case 0:
		return b[:r.IntN(len(b))], "cut"
	case 1:
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return b, "with a flipped bit"
	case 2:
		return append(b, byte(r.Uint32())), "with a byte too many"
	}
	return randomBytes(r, 12), "random bytes"
}

// queriesMax is how many queries a check makes at most.
const queriesMax = 200

// newQueries makes n queries, some of them damaged.
func newQueries(o Options, n int) [][]byte {
	r := rand.New(rand.NewPCG(o.Seed, 1))
	queries := make([][]byte, n)
	for i := range queries {
		queries[i] = bytes.Clone(o.query(r))
		if r.IntN(8) == 0 {
			queries[i], _ = damage(r, queries[i])
		}
	}
	return queries
}
