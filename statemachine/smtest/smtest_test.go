package smtest_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// transcript is a T that keeps what it is told.
type transcript struct{ errors, logs []string }

func (t *transcript) Helper() {}

func (t *transcript) Errorf(format string, args ...any) {
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}

func (t *transcript) Logf(format string, args ...any) {
	t.logs = append(t.logs, fmt.Sprintf(format, args...))
}

func options() smtest.Options {
	return smtest.Options{
		Command: ledgerCommand,
		Reopen:  reopen,
		Timeout: time.Minute,
		Pass:    func() { time.Sleep(24 * time.Hour) },
	}
}

// machines are the kinds of machine that the suite tells apart.
var machines = map[string]func(fault string) statemachine.StateMachine{
	"plain":   func(fault string) statemachine.StateMachine { return newLedger(fault) },
	"hashed":  func(fault string) statemachine.StateMachine { return hashed{newLedger(fault)} },
	"batched": func(fault string) statemachine.StateMachine { return batched{newLedger(fault)} },
	"durable": func(fault string) statemachine.StateMachine { return newVault(fault) },
}

func run(t *testing.T, kind, fault string, o smtest.Options) (told transcript) {
	t.Helper()
	if fault == "holds its lock until Close" {
		// What waits for a mutex waits for ever, and a bubble waits with it.
		o.Timeout, o.Pass = 5*time.Second, nil
		smtest.Run(&told, func() statemachine.StateMachine { return machines[kind](fault) }, o)
		return told
	}
	synctest.Test(t, func(*testing.T) {
		smtest.Run(&told, func() statemachine.StateMachine { return machines[kind](fault) }, o)
	})
	return told
}

func TestRightMachinesPass(t *testing.T) {
	for kind := range machines {
		for seed := range uint64(5) {
			o := options()
			o.Seed = seed + 1
			told := run(t, kind, "", o)
			require.Empty(t, told.errors, "%s, seed %d", kind, o.Seed)
		}
	}
}

func TestMachinesThatMaySurprisePass(t *testing.T) {
	for _, kind := range []string{"plain", "hashed"} {
		require.Empty(t, run(t, kind, "refuses after a bad Restore", options()).errors)
	}
	require.Empty(t, run(t, "hashed", "snapshot in map order", options()).errors, "a Hasher's snapshots need not be equal")
	o := options()
	o.SnapshotsUnchecked = true
	require.Empty(t, run(t, "plain", "has no checksum", o).errors)
}

func TestBrokenMachinesAreCaughtByName(t *testing.T) {
	for _, c := range []struct{ kind, fault, says string }{
		{"plain", "keeps the command", "keeps bytes of Entry.Command after Apply"},
		{"plain", "changes the command", "Apply changed the bytes of command 0"},
		{"plain", "gives its own state away", "of a result that it gave away"},
		{"plain", "uses a result's bytes again", "the machine uses its bytes again"},
		{"batched", "uses a result's bytes again", "the machine uses its bytes again"},
		{"plain", "Query uses an answer's bytes again", "the machine uses its bytes again"},
		{"plain", "random result", "first difference at command"},
		{"plain", "random state", "first difference after command 0 "},
		{"hashed", "random state", "first difference after command 0 "},
		{"plain", "looks at the clock", "first difference after command 0 "},
		{"hashed", "looks at the clock", ": hash "},
		{"plain", "map order", "first difference at command"},
		{"plain", "snapshot in map order", "if equal states may have different snapshots, be a Hasher"},
		{"plain", "shares a variable", "a new machine is not like the new machine before it"},
		{"plain", "panics on a malformed command", "panicked, which would stop every replica"},
		{"durable", "panics on a command without its value", "panicked, which would stop every replica"},
		{"plain", "is still due", "NextDue is still due after Expire"},
		{"plain", "Query changes the state", "changed the state"},
		{"plain", "Query counts itself", "changed the state"},
		{"plain", "Query is random", "two machines in one state answer"},
		{"plain", "Query panics", "panicked"},
		{"plain", "Query gives its own state away", "commands after queries differ|changed the state|answer"},
		{"plain", "snapshot is the live state", "is not the state at its capture, "},
		{"plain", "holds its lock until Close", "stuck after 5s in Apply of command"},
		{"plain", "Close without WriteTo breaks it", "after Close of a snapshot that was not written"},
		{"plain", "WriteTo hides the writer's error", "WriteTo returned no error"},
		{"plain", "WriteTo miscounts", "says that it wrote"},
		{"hashed", "snapshot forgets what is due", "a restored snapshot equals replay"},
		{"plain", "Restore reads once", "from a reader that gives a few bytes at a time"},
		{"plain", "Restore keeps old keys", "restored over the state after "},
		{"plain", "Restore leaves half behind", "left a changed state behind (read into a new state, and take it in the place of the old one at the end; or have Snapshot return an error"},
		{"plain", "Restore does not notice the end", "was restored without an error"},
		{"plain", "Restore hides the reader's error", "a reader that fails after 0 of|a stream that ends after 0 of"},
		{"plain", "Restore panics", "Restore panicked"},
		{"plain", "has no checksum", "with a flipped bit in byte"},
		{"hashed", "Hash is constant", "it is 0000000000000007 after each of 300 commands"},
		{"batched", "ApplyBatch skips", "ApplyBatch equals Apply"},
		{"batched", "ApplyBatch swaps results", "alone it was"},
		{"batched", "ApplyBatch executes the same once", "alone it was"},
		{"batched", "ApplyBatch keeps the command", "leave different states|alone it was"},
		{"batched", "concurrent queries disturb each other", "somebody else is here"},
		{"durable", "makes records durable before the state", "where the records were"},
		{"durable", "makes the index durable before the state", "where the records were|the state is not the one there"},
		{"durable", "forgets its records", "where the records were"},
		{"durable", "keeps deleted records", "where the records were"},
		{"durable", "forgets what was complete", "it forgot what was complete"},
		{"durable", "commits inside a transaction", "where no transaction ended: one is there in part|where the records were"},
		{"durable", "asks for the changes before the results", "before the result of command 1 of"},
		{"durable", "never asks for the changes", "called changes 0 times"},
		{"durable", "asks for the changes twice", "called changes 2 times"},
		{"durable", "RestoreDurable sets records first", "from a stream that ends early|where the records were map[]"},
	} {
		t.Run(c.kind+" "+c.fault, func(t *testing.T) {
			clear(shared)
			told := run(t, c.kind, c.fault, options())
			require.NotEmpty(t, told.errors)
			all := strings.Join(told.errors, "\n")
			t.Log(all)
			for says := range strings.SplitSeq(c.says, "|") {
				if strings.Contains(all, says) {
					return
				}
			}
			t.Errorf("it does not say %q", c.says)
		})
	}
}

func TestDurableWithoutReopenIsAnError(t *testing.T) {
	o := options()
	o.Reopen = nil
	require.Contains(t, strings.Join(run(t, "durable", "", o).errors, "\n"), "Options.Reopen is nil")
}

func TestCommandsThatChangeNothingAreAnError(t *testing.T) {
	o := options()
	o.Commands, o.Command = 20, func(*rand.Rand) []byte { return []byte("?") }
	told := run(t, "plain", "", o)
	require.Len(t, told.errors, 1)
	require.Contains(t, told.errors[0], "commands do something: none of 20 commands changed the state")
}

func TestOptionsThatCannotBeAreAnError(t *testing.T) {
	told := run(t, "plain", "", smtest.Options{Commands: -1})
	require.Len(t, told.errors, 1)
	require.Contains(t, told.errors[0], "must not be negative")
}

func TestSameSeedMakesTheSameRun(t *testing.T) {
	var logs [2][]string
	for i := range logs {
		o := options()
		o.Command = func(r *rand.Rand) []byte {
			c := ledgerCommand(r)
			logs[i] = append(logs[i], string(c))
			return c
		}
		require.Empty(t, run(t, "plain", "", o).errors)
	}
	require.Equal(t, logs[0], logs[1])
}

func TestSuiteServesOutsideGoTest(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		seen++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range file.Imports {
			require.NotContains(t, i.Path.Value, "testing", name)
		}
	}
	require.NotZero(t, seen)
}
