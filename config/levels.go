package config

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
)

// LevelsVariable names the environment variable that LevelsFromEnvironment reads.
const LevelsVariable = "OARLOCK_LOG"

// ComponentKey is the attribute by which Levels tells the parts of a server apart: "raft", "server", "tcp" and so on.
const ComponentKey = "component"

// LevelOff lets nothing through.
const LevelOff = slog.Level(1 << 20)

// Levels says how much of what each part of a server tells is logged. The zero value logs from info up. It is not
// changed after it was made and may be used from any goroutine.
type Levels struct {
	otherwise slog.Level
	parts     map[string]slog.Level
	least     slog.Level // the smallest of all
}

var levelNames = []string{"debug", "info", "warn", "error", "off"}

// LevelsFromEnvironment reads OARLOCK_LOG. Without it, everything from info up is logged.
func LevelsFromEnvironment() (Levels, error) {
	levels, err := ParseLevels(os.Getenv(LevelsVariable))
	if err != nil {
		return levels, fmt.Errorf("%s: %w", LevelsVariable, err)
	}
	return levels, nil
}

// ParseLevels reads a list of levels as RUST_LOG has them: "raft=debug,tcp=off,info" logs of raft from debug up, of tcp
// nothing, of all others from info up. Levels are debug, info, warn, error and off. A part may be named once. An error
// names the item that cannot be read.
func ParseLevels(list string) (Levels, error) {
	levels := Levels{parts: make(map[string]slog.Level)}
	if strings.TrimSpace(list) == "" {
		return levels, nil
	}
	general := ""
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		part, name, named := strings.Cut(item, "=")
		part, name = strings.TrimSpace(part), strings.TrimSpace(name)
		if !named {
			part, name = "", part
		}
		level, ok := parseLevel(name)
		_, twice := levels.parts[part]
		switch {
		case item == "":
			return Levels{}, fmt.Errorf("%q has an empty item between its commas", list)
		case named && part == "":
			return Levels{}, fmt.Errorf("%q names no part before its \"=\"; a level for all parts stands alone, like \"info\"", item)
		case !ok:
			return Levels{}, fmt.Errorf("%q: %q is not a level (%s)%s", item, name, strings.Join(levelNames, ", "), didYouMean(name, levelNames))
		case named && twice, !named && general != "":
			return Levels{}, fmt.Errorf("%q: there was a level for that already", item)
		case named:
			levels.parts[part] = level
		default:
			levels.otherwise, general = level, item
		}
	}
	levels.least = levels.otherwise
	for _, level := range levels.parts {
		levels.least = min(levels.least, level)
	}
	return levels, nil
}

// Check returns an error if the list named a part that is not among those given. Levels may be of parts of an application's
// own, so ParseLevels takes any name; who knows all parts finds a misspelt one with this.
func (l Levels) Check(parts ...string) error {
	named := slices.Sorted(maps.Keys(l.parts))
	for _, part := range named {
		if !slices.Contains(parts, part) {
			return fmt.Errorf("%s: nothing here is called %q (%s)%s", LevelsVariable, part, strings.Join(parts, ", "), didYouMean(part, parts))
		}
	}
	return nil
}

func parseLevel(name string) (slog.Level, bool) {
	i := slices.Index(levelNames, strings.ToLower(name))
	if i < 0 {
		return 0, false
	}
	return []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, LevelOff}[i], true
}

// Of returns the level from which a part is logged.
func (l Levels) Of(part string) slog.Level {
	if level, ok := l.parts[part]; ok {
		return level
	}
	return l.otherwise
}

// Handler returns a handler that passes on to next what the levels let through. A record's part is its attribute
// "component", of its logger or else of its own; a record without one has the general level.
func (l Levels) Handler(next slog.Handler) slog.Handler {
	return &levelHandler{levels: l, next: next}
}

type levelHandler struct {
	levels  Levels
	next    slog.Handler
	part    string
	known   bool // part was given to the logger
	grouped bool // attributes from here on belong to a group and name no part
}

func (h *levelHandler) Enabled(ctx context.Context, level slog.Level) bool {
	from := h.levels.Of(h.part)
	if !h.known && !h.grouped {
		from = h.levels.least // the record may yet name its part
	}
	return level >= from && h.next.Enabled(ctx, level)
}

func (h *levelHandler) Handle(ctx context.Context, record slog.Record) error {
	part := h.part
	if !h.known && !h.grouped {
		record.Attrs(func(a slog.Attr) bool {
			if a.Key == ComponentKey {
				part = a.Value.String()
			}
			return true
		})
	}
	if record.Level < h.levels.Of(part) {
		return nil
	}
	return h.next.Handle(ctx, record)
}

func (h *levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.next = h.next.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == ComponentKey && !h.grouped {
			n.part, n.known = a.Value.String(), true
		}
	}
	return &n
}

func (h *levelHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.next = h.next.WithGroup(name)
	n.grouped = n.grouped || name != ""
	return &n
}
