package sim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

// counters is a user's machine: numbers by name, and when something falls due. It can be told to break a promise.
type counters struct {
	fault  string
	values map[string]int
	Due    int64
	kept   [][]byte
	hidden int
	batch  int
}

func (c *counters) names() []string {
	var all []string
	for k := range c.values {
		all = append(all, k)
	}
	if c.fault != "map order" {
		slices.Sort(all)
	}
	return all
}

func (c *counters) Apply(e statemachine.Entry) []byte {
	name := string(e.Command)
	c.values[name]++
	c.hidden++
	switch c.fault {
	case "clock":
		c.values["time"] = int(time.Now().UnixNano())
	case "random":
		c.values["dice"] = rand.IntN(1000)
	case "random result":
		return fmt.Append(nil, rand.IntN(1000))
	case "keeps the command":
		c.kept = append(c.kept, e.Command)
	case "hidden state":
		return fmt.Append(nil, c.hidden)
	case "panics":
		if c.values[name] == 5 {
			panic("the fifth time")
		}
	case "panics on what is cut":
		if name == "memo" {
			panic("no text")
		}
	case "broken":
		if c.values[name] == 5 {
			panic(&statemachine.Broken{Err: errors.New("lost a page")})
		}
	case "blocks":
		if c.values[name] == 5 {
			select {}
		}
	}
	if c.Due == 0 && len(name)%2 == 0 {
		c.Due = e.Time + int64(time.Second)
	}
	return fmt.Append(nil, c.values[name])
}

func (c *counters) Query(q []byte) ([]byte, error) {
	switch c.fault {
	case "Query writes":
		c.values[string(q)]++
	case "Query is random":
		return fmt.Append(nil, rand.IntN(1000)), nil
	}
	if len(q) == 0 {
		return nil, errors.New("what?")
	}
	return fmt.Append(nil, c.values[string(q)]), nil
}

func (c *counters) NextDue() (int64, bool) { return c.Due, c.Due != 0 }

func (c *counters) Expire(_ uint64, nanos int64) {
	if c.Due == 0 || c.Due > nanos {
		return
	}
	if c.fault != "is still due" {
		c.Due = 0
	}
	c.values["expired"]++
	if c.fault == "Expire is random" {
		c.values["dice"] = rand.IntN(1000)
	}
}

// liveImage is a snapshot that reads what it refers to when it is written.
type liveImage struct{ of *counters }

func (i liveImage) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(i.of.encode())
	return int64(n), err
}
func (i liveImage) Close() error { return nil }

func (c *counters) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, c.Due)
	for _, k := range c.names() {
		fmt.Fprintf(&b, "=%x %d\n", k, c.values[k])
	}
	for _, k := range c.kept {
		fmt.Fprintf(&b, "kept %x\n", k)
	}
	return b.Bytes()
}

func (c *counters) Snapshot() (statemachine.Snapshot, error) {
	switch c.fault {
	case "snapshot is live":
		return liveImage{c}, nil
	case "no snapshot":
		return nil, errors.New("no room")
	}
	return statemachine.Encoded(c.encode()), nil
}

func (c *counters) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if c.fault == "Restore refuses" && len(lines) > 5 {
		return errors.New("too much")
	}
	if c.fault != "Restore keeps old keys" {
		clear(c.values)
	}
	if c.fault != "Restore forgets what is due" {
		if _, err := fmt.Sscan(lines[0], &c.Due); err != nil {
			return err
		}
	}
	for _, line := range lines[1:] {
		var name []byte
		var n int
		if hexed, value, ok := strings.Cut(strings.TrimPrefix(line, "="), " "); ok && line[0] == '=' {
			name, _ = hex.DecodeString(hexed)
			n, _ = strconv.Atoi(value)
		} else {
			continue
		}
		c.values[string(name)] = n
	}
	return nil
}

// summed is counters with a hash.
type summed struct{ *counters }

func (s summed) StateHash() uint64 {
	sum := uint64(s.Due)
	for k, v := range s.values {
		for _, b := range []byte(k) {
			v = v*31 + int(b)
		}
		sum += mixed(uint64(v), 1)
	}
	for _, k := range s.kept {
		for _, b := range k {
			sum = sum*31 + uint64(b)
		}
	}
	return sum
}

// inBatches is counters that take batches.
type inBatches struct{ summed }

func (b inBatches) ApplyBatch(entries []statemachine.Entry, results [][]byte) {
	for i := range entries {
		results[i] = b.Apply(entries[i])
	}
	if b.fault == "batches count" {
		b.counters.batch++
		b.values["batches"] = b.counters.batch
	}
}

var kinds = map[string]func(fault string) statemachine.StateMachine{
	"plain":   func(fault string) statemachine.StateMachine { return newCounters(fault) },
	"summed":  func(fault string) statemachine.StateMachine { return summed{newCounters(fault)} },
	"batches": func(fault string) statemachine.StateMachine { return inBatches{summed{newCounters(fault)}} },
}

func newCounters(fault string) *counters { return &counters{fault: fault, values: map[string]int{}} }

func counterOptions() smtest.Options {
	return smtest.Options{
		Examples:      [][]byte{[]byte("a"), []byte("bb"), []byte("ccc"), []byte("dddd")},
		QueryExamples: [][]byte{[]byte("a"), []byte("bb"), nil},
	}
}

func clusters(t *testing.T, kind, fault string, o smtest.Options, c Clusters) *MachineReport {
	t.Helper()
	report, err := CheckClusters(func() statemachine.StateMachine { return kinds[kind](fault) }, o, c)
	require.NoError(t, err)
	return report
}

func TestRightMachinesPassInClusters(t *testing.T) {
	runs := max(8, *simRuns)
	for kind := range kinds {
		report := clusters(t, kind, "", counterOptions(), Clusters{From: *simFrom, Runs: runs})
		require.NoError(t, report.Err(), kind)
		t.Log(report.Line())
		require.Equal(t, runs, report.Runs)
		require.Greater(t, report.Changes, 8*50)
		require.Greater(t, report.Snapshots, 8)
		require.Greater(t, report.Restores, 8)
		require.Greater(t, report.Queries, 8)
		require.Empty(t, report.Unchecked)
	}
}

func TestClustersCatchBrokenMachines(t *testing.T) {
	for _, c := range []struct{ kind, fault, check, says string }{
		{"plain", "map order", "", "hash"},
		{"plain", "clock", "the same state after the same entries", "first difference after the command at index"},
		{"plain", "random", "the same state after the same entries", "first difference after the command at index"},
		{"summed", "random", "the same state after the same entries", "first difference after the command at index"},
		{"batches", "random", "the same state after the same entries", "first difference after the command at index"},
		{"summed", "random result", "the same results of the same commands", "and gives"},
		{"summed", "hidden state", "the same results of the same commands", "and gives"},
		{"summed", "keeps the command", "", ""},
		{"plain", "panics", "every command is executed", "panicked on server"},
		{"summed", "broken", "every command is executed", "lost a page"},
		{"summed", "Query writes", "Query changes nothing, and answers the same in the same state", "changed the state of server"},
		{"plain", "Query writes", "", ""},
		{"summed", "Query is random", "Query changes nothing, and answers the same in the same state", "was answered with"},
		{"plain", "is still due", "what falls due comes to an end", "NextDue is still due after Expire"},
		{"summed", "Expire is random", "the same state after the same entries", "first difference after Expire at index"},
		{"plain", "snapshot is live", "a snapshot is the state when it was captured, and restores to it", "gives another state when it is restored"},
		{"summed", "snapshot is live", "a snapshot is the state when it was captured, and restores to it", "gives another state when it is restored"},
		{"summed", "no snapshot", "a snapshot can be taken, at the latest when it is tried again", "no room"},
		{"plain", "no snapshot", "a snapshot can be taken, at the latest when it is tried again", "no room"},
		{"summed", "Restore refuses", "a snapshot is the state when it was captured, and restores to it", "cannot be restored: too much"},
		{"summed", "Restore forgets what is due", "a snapshot is the state when it was captured, and restores to it", "gives another state"},
		{"batches", "batches count", "", "hash"},
	} {
		t.Run(c.kind+" "+c.fault, func(t *testing.T) {
			report := clusters(t, c.kind, c.fault, counterOptions(), Clusters{Runs: 40})
			require.Len(t, report.Findings, 1)
			f := &report.Findings[0]
			t.Log(f)
			if c.check != "" {
				require.Equal(t, c.check, f.Check)
			}
			require.Contains(t, f.Text, c.says)
			require.NotContains(t, f.Check, LibraryRule)
			require.Contains(t, f.Repeat, "sim.Clusters{From: ")
			require.NotEmpty(t, f.Story)
			require.True(t, len(f.Script) > 0 || strings.Contains(f.Text, "has executed nothing"))
			require.LessOrEqual(t, len(f.Script), 40, "it was not shrunk")
		})
	}
}

// memos are commands of which those that are cut after four bytes are another command.
func memos(seen *int) smtest.Options {
	return smtest.Options{Command: func(r *rand.Rand) []byte {
		*seen++
		return fmt.Appendf(nil, "memo %d", r.IntN(10))
	}}
}

func TestClustersExecuteACommandThatIsDamagedNowAndThen(t *testing.T) {
	made, damaged := 0, map[string]bool{}
	report, err := CheckClusters(func() statemachine.StateMachine {
		return spy{newCounters(""), func(command string) {
			if len(command) != len("memo 1") || !strings.HasPrefix(command, "memo ") {
				damaged[command] = true
			}
		}}
	}, memos(&made), Clusters{Runs: 4})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Greater(t, len(damaged), made/200)
	require.Less(t, len(damaged), made/10)

	report = clusters(t, "plain", "panics on what is cut", memos(&made), Clusters{Runs: 40})
	require.Len(t, report.Findings, 1)
	require.Equal(t, "every command is executed", report.Findings[0].Check)
	require.Equal(t, "cut", report.Findings[0].Command.Damage)
	require.Contains(t, report.Findings[0].String(), `"memo", cut`)
}

// spy is counters that tell of their commands.
type spy struct {
	*counters
	tell func(command string)
}

func (s spy) Apply(e statemachine.Entry) []byte {
	s.tell(string(e.Command))
	return s.counters.Apply(e)
}

func TestAMachineThatBlocksIsAFinding(t *testing.T) {
	o := counterOptions()
	o.Timeout = 2 * time.Second
	report := clusters(t, "summed", "blocks", o, Clusters{Runs: 5})
	require.Len(t, report.Findings, 1)
	require.Contains(t, report.Findings[0].Text, "the last call was Apply: the command at index")
}

func TestMachinesThatAreRightInTheirWayPass(t *testing.T) {
	o := counterOptions()
	o.SnapshotsVary = true
	report := clusters(t, "plain", "map order", o, Clusters{Runs: 4})
	require.NoError(t, report.Err())
	require.Contains(t, report.Unchecked[0], "be a statemachine.Hasher")
	require.NoError(t, clusters(t, "summed", "map order", counterOptions(), Clusters{Runs: 4}).Err())
}

// stored is counters that say that they have storage of their own, and that are closed.
type stored struct {
	*counters
	closed *int
}

func (s stored) Load() (uint64, []statemachine.Record, error) { return 0, nil, nil }

func (s stored) ApplyDurable([]statemachine.Entry, [][]byte, uint64, func() []statemachine.Record) error {
	return errors.New("not in clusters")
}

func (s stored) RestoreDurable(io.Reader, uint64, []statemachine.Record) error {
	return errors.New("not in clusters")
}

func (s stored) Close() error {
	*s.closed++
	return nil
}

func TestMachinesWithStorageOfTheirOwnAreLeftOutAndSaidSo(t *testing.T) {
	made, closed := 0, 0
	report, err := CheckClusters(func() statemachine.StateMachine {
		made++
		return stored{newCounters(""), &closed}
	}, counterOptions(), Clusters{})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.Zero(t, report.Runs)
	require.Contains(t, report.Unchecked[0], "statemachine.Durable")
	require.Equal(t, made, closed)
}

// closing is counters that count how many of them are open.
type closing struct {
	*counters
	open *int
}

func (c closing) Close() error {
	*c.open--
	return nil
}

func TestEveryMachineOfAClusterIsClosed(t *testing.T) {
	open, made := 0, 0
	report, err := CheckClusters(func() statemachine.StateMachine {
		open++
		made++
		return closing{newCounters(""), &open}
	}, counterOptions(), Clusters{Runs: 2})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Greater(t, made, 2*3)
	require.Zero(t, open)
}

func TestCommandsOfAnySizeFitIntoAPlan(t *testing.T) {
	for _, size := range []int{0, 200_000} {
		o := smtest.Options{
			Command: func(r *rand.Rand) []byte { return kv.Put([]byte{byte('a' + r.IntN(8))}, make([]byte, size)) },
			Query:   func(*rand.Rand) []byte { return kv.Scan(nil, nil, 5) },
		}
		report, err := CheckClusters(func() statemachine.StateMachine { return kv.New() }, o, Clusters{From: 3, Runs: 2})
		require.NoError(t, err)
		require.NoError(t, report.Err(), "%d bytes", size)
		require.Greater(t, report.Changes, min(100, inputBytesMax/(1+size)))
	}
}

// recorder is a T that keeps what it is told.
type recorder struct{ errors, logs []string }

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func TestCheckRunsTheMachineAloneAndThenInClusters(t *testing.T) {
	var r recorder
	Check(&r, func() statemachine.StateMachine { return kv.New() }, smtest.Options{Examples: [][]byte{
		kv.Put([]byte("a"), []byte("1")), kv.Append([]byte("b"), []byte("2")), kv.Delete([]byte("a")), kv.PutExpiring([]byte("c"), nil, 1e9),
	}, QueryExamples: [][]byte{kv.Get([]byte("a")), kv.HashOf()}}, Clusters{Runs: 3})
	require.Empty(t, r.errors)
	require.Contains(t, r.logs[len(r.logs)-1], "sim: 3 clusters, ")

	r = recorder{}
	Check(&r, func() statemachine.StateMachine { return newCounters("random") }, counterOptions(), Clusters{Runs: 3})
	require.Len(t, r.errors, 1)
	require.Contains(t, r.errors[0], "sim: the same commands give the same results and state: first difference")
	require.Contains(t, strings.Join(r.logs, "\n"), "clusters, because the machine fails alone")
}

func TestTheSeedOfAFindingFindsItAgain(t *testing.T) {
	first := clusters(t, "summed", "hidden state", counterOptions(), Clusters{ShrinkRuns: -1}).Findings[0]
	var from uint64
	_, err := fmt.Sscanf(first.Repeat, "sim.Clusters{From: %d, Runs: 1}", &from)
	require.NoError(t, err)
	again := clusters(t, "summed", "hidden state", counterOptions(), Clusters{From: from, Runs: 1, ShrinkRuns: -1}).Findings[0]
	require.Equal(t, first, again)
}

func TestAMachineReportCanBeWrittenAsJSON(t *testing.T) {
	raw, err := json.Marshal(clusters(t, "summed", "random", counterOptions(), Clusters{Runs: 2, ShrinkRuns: -1}))
	require.NoError(t, err)
	var back MachineReport
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Len(t, back.Findings, 1)
	require.Len(t, back.Findings[0].Hashes, 2)
}

func TestSettingsOfClustersThatCannotBeAreNamed(t *testing.T) {
	_, err := CheckMachine(func() statemachine.StateMachine { return kv.New() }, smtest.Options{}, Clusters{Runs: -1})
	require.ErrorContains(t, err, "Clusters.Runs is -1")
	_, err = CheckClusters(func() statemachine.StateMachine { return kv.New() }, smtest.Options{Timeout: -1}, Clusters{})
	require.ErrorContains(t, err, "Timeout")
	report, err := CheckClusters(func() statemachine.StateMachine { return nil }, smtest.Options{}, Clusters{})
	require.NoError(t, err)
	require.ErrorContains(t, report.Err(), "the factory made no machine")
}

// silent is counters that answer nothing.
type silent struct{ *counters }

func (silent) Query([]byte) ([]byte, error) { return nil, errors.New("never") }

func TestQueriesThatAreNeverAnsweredAreToldOnce(t *testing.T) {
	factory := func() statemachine.StateMachine { return silent{newCounters("")} }
	for _, check := range []func(func() statemachine.StateMachine, smtest.Options, Clusters) (*MachineReport, error){CheckMachine, CheckClusters} {
		o := counterOptions()
		o.SnapshotsUnchecked = true
		report, err := check(factory, o, Clusters{Runs: 2})
		require.NoError(t, err)
		told := 0
		for _, what := range report.Unchecked {
			if strings.HasPrefix(what, `answers to queries: not one was without an error, the last error was "never"`) {
				told++
			}
		}
		require.Equal(t, 1, told, "%v", report)
	}
}
