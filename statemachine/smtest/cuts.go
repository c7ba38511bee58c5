package smtest

import (
	"bytes"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/oarlock/oarlock/statemachine"
)

// Chance damages one command in ten of a script, and may miss the one that a machine panics on. So the script is followed, once,
// by prefixes of a few commands of each kind, and by these commands with single bytes changed.
const (
	cutsMax        = 400 // commands of all kinds
	cutKindMax     = 3   // commands of a kind that are damaged
	cutPrefixesMax = 24  // of a command
	cutFlipsMax    = 8   // of a command
)

// Damage makes something of a command that a client should not have sent, and says how. For those who build on this suite.
func Damage(r *rand.Rand, command []byte) (damaged []byte, how string) { return damage(r, command) }

// intended is the command as it was made.
func (s step) intended() []byte {
	if s.damage != "" {
		return s.sound
	}
	return s.entry.Command
}

// kindOf tells commands apart by what tells them apart in most formats: the first byte, and about how long they are.
func kindOf(command []byte) [2]int {
	if len(command) == 0 {
		return [2]int{}
	}
	return [2]int{1 + int(command[0]), bits.Len(uint(len(command)))}
}

// newCuts makes the damaged commands that follow the script, of every kind one before there is a second one of any.
func newCuts(script []step) []step {
	var rounds [cutKindMax][]step
	seen := map[[2]int]int{}
	for _, st := range script {
		command := st.intended()
		if n := seen[kindOf(command)]; n < cutKindMax {
			rounds[n] = append(rounds[n], damageOf(command)...)
			seen[kindOf(command)] = n + 1
		}
	}
	var cuts []step
	for _, round := range rounds {
		for _, i := range evenly(len(round), cutsMax-len(cuts)) {
			cuts = append(cuts, round[i])
		}
	}
	before := script[len(script)-1]
	for i := range cuts {
		command := cuts[i].entry.Command
		cuts[i].number, cuts[i].entry = before.number+1, before.entry
		cuts[i].entry.Index, cuts[i].entry.Command = before.entry.Index+2, command
		before = cuts[i]
	}
	return cuts
}

// damageOf returns the prefixes of a command, all of a short one, and the command with single bytes changed.
func damageOf(command []byte) (damaged []step) {
	dense := min(len(command), cutPrefixesMax*2/3) // what formats cannot do without comes first
	for i := range dense {
		damaged = append(damaged, damagedStep(command, command[:i], "cut"))
	}
	for _, i := range evenly(len(command)-dense, cutPrefixesMax-dense) {
		damaged = append(damaged, damagedStep(command, command[:dense+i], "cut"))
	}
	for k, at := range evenly(len(command), cutFlipsMax) {
		changed := bytes.Clone(command)
		changed[at] ^= []byte{0xff, 0x80, 0x01}[k%3]
		damaged = append(damaged, damagedStep(command, changed, "with a changed byte"))
	}
	return damaged
}

func damagedStep(sound, command []byte, how string) step {
	return step{entry: statemachine.Entry{Command: command}, damage: how, sound: sound}
}

// evenly returns at most limit numbers below n, evenly, the last one among them.
func evenly(n, limit int) (list []int) {
	few := min(n, limit)
	for i := range few {
		list = append(list, n*(i+1)/few-1)
	}
	return list
}

// executeCuts gives a machine the script and what follows it. If that fails, the script is lengthened to there.
func (s *suite) executeCuts() error {
	m, err := s.newSubject()
	if err != nil {
		return err
	}
	defer m.close()
	m.gentle = true
	all := slices.Concat(s.script, s.cuts)
	for i, st := range all {
		_, err := m.apply(st)
		if err == nil {
			_, err = m.tick(st)
		}
		if err != nil {
			s.script = all[:i+1]
			return st.here(err)
		}
	}
	return nil
}
