package smtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/oarlock/oarlock/statemachine"
)

// Report is what came of the checks of a machine. It can be written as JSON.
type Report struct {
	// Checks is how many promises were looked at, Commands how many commands a run had.
	Checks   int `json:"checks"`
	Commands int `json:"commands"`
	// Final is the hash of the state after the last command, in hexadecimal, empty where it cannot be had. It is the same in every
	// process, on every machine and with every version of the program that replicates with this one: a test may pin it, and so
	// finds what two machines in one process have in common (the environment, a hash that is seeded once a process).
	Final string `json:"final,omitempty"`
	// Findings are the broken promises, at most one of each check. None: the machine passed.
	Findings []Finding `json:"findings,omitempty"`
	// Unchecked says what could not be looked at with these options and this machine, and what would change that.
	Unchecked []string `json:"unchecked,omitempty"`
}

// Err returns nil for a machine that passed, and otherwise an error with all findings in its text.
func (r *Report) Err() error {
	all := make([]error, len(r.Findings))
	for i := range r.Findings {
		all[i] = errors.New(r.Findings[i].String())
	}
	return errors.Join(all...)
}

// Finding is one broken promise.
type Finding struct {
	// Check is the promise in words.
	Check string `json:"check"`
	// Text is what happened instead. It names the command and, where states differ, the two hashes.
	Text string `json:"text"`
	// Command is where it happened: the first command after which two runs parted, the one whose call failed. nil: no
	// single command is to blame.
	Command *Command `json:"command,omitempty"`
	// Hashes are those of the two states that had to be the same, in hexadecimal: StateHash, or a hash of the snapshot's
	// bytes. Empty: it is not the state that differs.
	Hashes []string `json:"hashes,omitempty"`
	// Script are the commands that are enough to see it, in order.
	Script []Command `json:"script,omitempty"`
	// Repeat is what to set to see it again, as Go.
	Repeat string `json:"repeat,omitempty"`
	// Story tells what happened in a simulated cluster, a line for each thing; empty outside of one.
	Story string `json:"story,omitempty"`
}

// Command is a command of a script.
type Command struct {
	Number int    `json:"number"` // its place in the script, from 0
	Index  uint64 `json:"index"`
	Term   uint64 `json:"term"`
	Time   int64  `json:"time"` // cluster time in nanoseconds
	Bytes  []byte `json:"-"`
	Hex    string `json:"hex"`
	// Text is the command as text, quoted as Go does; empty where its bytes are not all printable.
	Text string `json:"text,omitempty"`
	// Damage says how the suite has damaged the command, if it has.
	Damage string `json:"damage,omitempty"`
}

// NewCommand describes an entry that is number in a script. It keeps a copy of the command.
func NewCommand(number int, e statemachine.Entry) Command {
	return Command{
		Number: number, Index: e.Index, Term: e.Term, Time: e.Time, Bytes: append([]byte{}, e.Command...),
		Hex: fmt.Sprintf("%x", e.Command), Text: printable(e.Command),
	}
}

// String returns the command in one line.
func (c Command) String() string {
	text := fmt.Sprintf("command %d (index %d, time %d): %s", c.Number, c.Index, c.Time, shown(c.Bytes))
	if c.Damage != "" {
		text += ", " + c.Damage
	}
	return text
}

// How many commands of a script String shows: those at its end, where runs part, and a few at its beginning.
const (
	scriptFirst = 4
	scriptLast  = 16
)

// String returns the finding in a few lines, without the story.
func (f *Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", f.Check, f.Text)
	if len(f.Hashes) == 2 && !strings.Contains(f.Text, f.Hashes[0]) {
		fmt.Fprintf(&b, "\n  hashes %s and %s", f.Hashes[0], f.Hashes[1])
	}
	if len(f.Script) > 0 {
		fmt.Fprintf(&b, "\n  seen with %s:", count(len(f.Script), "command"))
		left := len(f.Script) - scriptFirst - scriptLast
		for i, c := range f.Script {
			switch {
			case left <= 0 || i < scriptFirst || i >= scriptFirst+left:
				fmt.Fprintf(&b, "\n    %s", c)
			case i == scriptFirst:
				fmt.Fprintf(&b, "\n    … %s between: the finding's Script has all of them", count(left, "more command"))
			}
		}
	}
	if f.Repeat != "" {
		fmt.Fprintf(&b, "\n  again with %s", f.Repeat)
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// located is an error that happened at a command, with the two states that differ if it is about that. Its text is the
// error's.
type located struct {
	step   step
	hashes []string
	err    error
}

func (l *located) Error() string { return l.err.Error() }
func (l *located) Unwrap() error { return l.err }

// here says that an error happened at this command. What is inside and says more precisely where stays.
func (s step) here(err error) error {
	var inner *located
	if err == nil || errors.As(err, &inner) {
		return err
	}
	return &located{step: s, err: err}
}

// parted is an error about two states after this command, or about the results of it.
func (s step) parted(err error, a, b state) error {
	return &located{step: s, err: err, hashes: hashesOf(a, b)}
}

// apart is an error about two states that no single command is to blame for.
type apart struct {
	hashes []string
	err    error
}

func (a *apart) Error() string { return a.err.Error() }
func (a *apart) Unwrap() error { return a.err }

// finding describes an error of a check.
func (s *suite) finding(c check, err error) Finding {
	f := Finding{Check: c.promise(err), Text: err.Error(), Repeat: fmt.Sprintf("smtest.Options{Seed: %d}", s.options.Seed)}
	var at *located
	var between *apart
	switch {
	case errors.As(err, &at):
		command := at.step.command()
		f.Command, f.Hashes = &command, at.hashes
	case errors.As(err, &between):
		f.Hashes = between.hashes
	}
	if !c.whole && !isStuck(err) && f.Check != PromiseFactory {
		for _, st := range s.script {
			f.Script = append(f.Script, st.command())
		}
	}
	return f
}

func (s step) command() Command {
	c := NewCommand(s.number, s.entry)
	c.Damage = s.damage
	return c
}
