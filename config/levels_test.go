package config

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// logged returns the messages that pass a list of levels.
func logged(t *testing.T, list string, say func(*slog.Logger)) string {
	t.Helper()
	levels, err := ParseLevels(list)
	require.NoError(t, err)
	var out bytes.Buffer
	next := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
	say(slog.New(levels.Handler(next)))
	var messages []string
	for line := range strings.Lines(out.String()) {
		_, rest, _ := strings.Cut(line, "msg=")
		messages = append(messages, strings.Fields(rest)[0])
	}
	return strings.Join(messages, " ")
}

func everyLevel(l *slog.Logger) {
	l.Debug("d")
	l.Info("i")
	l.Warn("w")
	l.Error("e")
}

func TestEachPartOfAServerHasItsOwnLevel(t *testing.T) {
	part := func(name string) func(*slog.Logger) {
		return func(l *slog.Logger) { everyLevel(l.With(ComponentKey, name)) }
	}
	for _, c := range []struct {
		list string
		say  func(*slog.Logger)
		want string
	}{
		{"", everyLevel, "i w e"},
		{"debug", everyLevel, "d i w e"},
		{"off", everyLevel, ""},
		{"raft=debug,info", part("raft"), "d i w e"},
		{"raft=debug,info", part("tcp"), "i w e"},
		{" raft = Debug , WARN ", part("tcp"), "w e"},
		{"raft=debug,tcp=off,error", part("tcp"), ""},
		{"raft=error", part("raft"), "e"},
		{"raft=error", part("tcp"), "i w e"},
	} {
		require.Equal(t, c.want, logged(t, c.list, c.say), c.list)
	}
}

func TestComponentMayStandInTheRecord(t *testing.T) {
	say := func(l *slog.Logger) {
		l.Debug("raft", ComponentKey, "raft")
		l.Debug("tcp", ComponentKey, "tcp")
		l.With("server", 1).Debug("raft-too", ComponentKey, "raft")
		l.WithGroup("g").Debug("grouped", ComponentKey, "raft")
		l.With(ComponentKey, "tcp").Debug("logger-decides", ComponentKey, "raft")
	}
	require.Equal(t, "raft raft-too", logged(t, "raft=debug,info", say))
}

func TestDisabledLevelsCostNoRecord(t *testing.T) {
	levels, err := ParseLevels("raft=warn,info")
	require.NoError(t, err)
	h := levels.Handler(slog.DiscardHandler)
	require.False(t, h.Enabled(context.Background(), slog.LevelError), "what the next handler discards is not enabled")

	h = levels.Handler(slog.NewTextHandler(&bytes.Buffer{}, nil))
	require.True(t, h.Enabled(context.Background(), slog.LevelInfo))
	require.False(t, h.Enabled(context.Background(), slog.LevelDebug))
	require.False(t, h.WithAttrs([]slog.Attr{slog.String(ComponentKey, "raft")}).Enabled(context.Background(), slog.LevelInfo))
}

func TestBadLevelListNamesTheBadPart(t *testing.T) {
	for list, want := range map[string]string{
		"raft=debgu,info": `"raft=debgu": "debgu" is not a level (debug, info, warn, error, off); did you mean "debug"?`,
		"raft=debug,,":    `has an empty item between its commas`,
		"=debug":          `"=debug" names no part`,
		"info,debug":      `"debug": there was a level for that already`,
		"a=info,a=debug":  `"a=debug": there was a level for that already`,
		"raft":            `"raft" is not a level`,
		"raft=":           `"raft=": "" is not a level`,
	} {
		_, err := ParseLevels(list)
		require.ErrorContains(t, err, want, list)
	}
}

func TestEnvironmentErrorsNameTheVariable(t *testing.T) {
	t.Setenv(LevelsVariable, "raft=loud")
	_, err := LevelsFromEnvironment()
	require.ErrorContains(t, err, `OARLOCK_LOG: "raft=loud": "loud" is not a level`)

	t.Setenv(LevelsVariable, "raft=debug")
	levels, err := LevelsFromEnvironment()
	require.NoError(t, err)
	require.Equal(t, slog.LevelDebug, levels.Of("raft"))
	require.Equal(t, slog.LevelInfo, levels.Of("tcp"))
}
