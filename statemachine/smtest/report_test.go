package smtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/smtest"
)

func check(t *testing.T, kind, fault string, o smtest.Options) *smtest.Report {
	t.Helper()
	report, err := smtest.Check(func() statemachine.StateMachine { return machines[kind](fault) }, o)
	require.NoError(t, err)
	return report
}

func TestAFindingNamesTheCommandAndBothHashesAndIsSeenWithFewCommands(t *testing.T) {
	o := smtest.Options{Command: ledgerCommand}
	for _, kind := range []string{"plain", "hashed"} {
		report := check(t, kind, "random state", o)
		require.Len(t, report.Findings, 1)
		f := report.Findings[0]
		require.Equal(t, "the same commands give the same results and state", f.Check)
		require.NotNil(t, f.Command)
		require.Equal(t, 0, f.Command.Number)
		require.Equal(t, fmt.Sprintf("%x", f.Command.Bytes), f.Command.Hex)
		require.Len(t, f.Hashes, 2)
		require.NotEqual(t, f.Hashes[0], f.Hashes[1])
		require.Contains(t, f.Text, f.Hashes[0])
		require.Len(t, f.Script, 1, "one command is enough to part two machines with random states")
		require.Contains(t, f.String(), "again with smtest.Options{Seed: 1}")
		require.ErrorContains(t, report.Err(), f.Text)
	}
}

func TestScriptsThatNeedTwoCommandsKeepTwo(t *testing.T) {
	f := check(t, "plain", "uses a result's bytes again", smtest.Options{Command: ledgerCommand}).Findings[0]
	require.Len(t, f.Script, 2)
	for i, c := range f.Script {
		require.Equal(t, i, c.Number)
		if i > 0 {
			require.Greater(t, c.Index, f.Script[i-1].Index)
		}
	}
}

func TestACommandThatCanBePrintedIsShownAsText(t *testing.T) {
	c := smtest.NewCommand(3, statemachine.Entry{Index: 7, Time: 9, Command: []byte("put a\n")})
	require.Equal(t, `command 3 (index 7, time 9): "put a\n"`, c.String())
	require.Empty(t, c.Text, "a line feed is not printable")
	c = smtest.NewCommand(3, statemachine.Entry{Index: 7, Time: 9, Command: []byte("put ä")})
	require.Equal(t, `command 3 (index 7, time 9): "put ä"`, c.String())
	require.Equal(t, "7075742061", smtest.NewCommand(0, statemachine.Entry{Command: []byte("put a")}).Hex)
}

func TestExamplesAreEnoughToFindWhatGeneratedCommandsFind(t *testing.T) {
	o := smtest.Options{Examples: [][]byte{[]byte("sa1"), []byte("sb2"), []byte("ec\x013"), []byte("sd44")}}
	report := check(t, "plain", "", o)
	require.Empty(t, report.Findings)
	require.Contains(t, report.Unchecked[0], "no example is like")
	require.NotEmpty(t, check(t, "plain", "map order", o).Findings)
	require.NotEmpty(t, check(t, "plain", "snapshot is the live state", o).Findings)
}

func TestRandomBytesSayThatTheyAreNotEnough(t *testing.T) {
	report := check(t, "plain", "", smtest.Options{})
	require.Contains(t, report.Unchecked[0], "they were random bytes")
}

func TestSnapshotsThatVaryAreAcceptedWhereTheOptionsSaySo(t *testing.T) {
	o := smtest.Options{Command: ledgerCommand}
	require.Contains(t, check(t, "plain", "snapshot in map order", o).Findings[0].Text, "set SnapshotsVary")
	o.SnapshotsVary = true
	report := check(t, "plain", "snapshot in map order", o)
	require.Empty(t, report.Findings)
	require.Len(t, report.Unchecked, 1)
	require.Contains(t, report.Unchecked[0], "the state, but for what results show of it")
}

func TestAnswersToQueriesStandForAStateThatCannotBeComparedOtherwise(t *testing.T) {
	o := smtest.Options{
		Command: ledgerCommand, SnapshotsVary: true,
		QueryExamples: [][]byte{[]byte("qa"), []byte("qb"), []byte("q\x00"), []byte("qe"), []byte("qf")},
	}
	require.Empty(t, check(t, "plain", "snapshot in map order", o).Findings)
	f := check(t, "plain", "random state", o).Findings[0]
	require.Equal(t, "the same commands give the same results and state", f.Check)
	require.Contains(t, f.Text, "answers ")
}

func TestAReportCanBeWrittenAsJSON(t *testing.T) {
	raw, err := json.Marshal(check(t, "plain", "map order", smtest.Options{Command: ledgerCommand}))
	require.NoError(t, err)
	var back smtest.Report
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, 2, back.Checks)
	require.NotEmpty(t, back.Findings[0].Script[0].Hex)
}

// blindfold is a ledger whose hash sees how many values there are and nothing else.
type blindfold struct{ *ledger }

func (b blindfold) StateHash() uint64 { return uint64(len(b.values)) }

func TestAHashThatDoesNotSeeAllIsTold(t *testing.T) {
	report, err := smtest.Check(func() statemachine.StateMachine { return blindfold{newLedger("")} }, smtest.Options{Command: ledgerCommand})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.Len(t, report.Unchecked, 1)
	require.Contains(t, report.Unchecked[0], "there is something that it does not see")
	require.Empty(t, check(t, "hashed", "", smtest.Options{Command: ledgerCommand}).Unchecked)
}

func TestTheFinalHashIsTheSameInEveryProcess(t *testing.T) {
	require.Equal(t, "000000002efd32c7", check(t, "hashed", "", smtest.Options{Command: ledgerCommand}).Final)
	require.Empty(t, check(t, "plain", "", smtest.Options{Command: ledgerCommand, SnapshotsVary: true}).Final)
}

// secondhand is a ledger that leaves everything out of the snapshots of a machine that was restored itself and has gone on.
type secondhand struct {
	hashed
	restored, gone bool
}

func (s *secondhand) Apply(e statemachine.Entry) []byte {
	s.gone = s.restored
	return s.hashed.Apply(e)
}

func (s *secondhand) Restore(r io.Reader) error {
	s.restored = true
	return s.hashed.Restore(r)
}

func (s *secondhand) Snapshot() (statemachine.Snapshot, error) {
	if s.gone {
		return newLedger("").Snapshot()
	}
	return s.hashed.Snapshot()
}

func TestSnapshotsOfRestoredMachinesAreRestoredToo(t *testing.T) {
	report, err := smtest.Check(func() statemachine.StateMachine { return &secondhand{hashed: hashed{newLedger("")}} }, smtest.Options{Command: ledgerCommand})
	require.NoError(t, err)
	require.NotEmpty(t, report.Findings)
	require.Contains(t, report.Findings[0].Text, "restored from the snapshot of a machine that was restored itself and has gone on")
}

// silent is a ledger that answers nothing.
type silent struct{ *ledger }

func (silent) Query([]byte) ([]byte, error) { return nil, errors.New("a str is no bytes") }

func TestQueriesThatAreNeverAnsweredAreTold(t *testing.T) {
	report, err := smtest.Check(func() statemachine.StateMachine { return silent{newLedger("")} }, smtest.Options{Command: ledgerCommand})
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.Len(t, report.Unchecked, 1)
	require.Contains(t, report.Unchecked[0], `answers to queries: not one was without an error, the last error was "a str is no bytes"; give Options.Query`)
}

func TestBytesAreShownAsTextIfMostOfThemAreText(t *testing.T) {
	long := strings.Repeat("0123456789", 13)
	for says, b := range map[string]string{
		"no bytes":                                          "",
		`"put a 1"`:                                         "put a 1",
		"`{\"from\":\"a\",\"to\":\"b\"}`":                   `{"from":"a","to":"b"}`,
		`"{\"from\":\"\xff\",\"to\":\"b\"}"`:                "{\"from\":\"\xff\",\"to\":\"b\"}",
		"00 01 02 61":                                       "\x00\x01\x02a",
		`"` + long[:120] + `" … (130 bytes)`:                long,
		`"` + long[:119] + `" … (129 bytes)`:                long[:119] + "ä" + long[:8],
		`"` + long[:118] + `ä" … (129 bytes)`:               long[:118] + "ä" + long[:9],
		"00" + strings.Repeat(" 00", 47) + " … (200 bytes)": string(make([]byte, 200)),
	} {
		require.Equal(t, says, smtest.Shown([]byte(b)))
	}
}

func TestALongScriptIsShownWithTheCommandsAtItsEnd(t *testing.T) {
	f := smtest.Finding{Check: "a", Text: "b"}
	for i := range 21 {
		f.Script = append(f.Script, smtest.NewCommand(i, statemachine.Entry{Command: fmt.Append(nil, i)}))
	}
	text := f.String()
	require.Contains(t, text, "    command 3 (index 0, time 0): \"3\"\n    … 1 more command between: the finding's Script has all of them\n    command 5 ")
	require.Contains(t, text, "command 20 ")
	f.Script = f.Script[1:]
	require.NotContains(t, f.String(), "between")
	require.Equal(t, 22, strings.Count(f.String(), "\n")+1)
}
