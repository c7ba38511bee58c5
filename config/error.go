package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/oarlock/oarlock/raft"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	File string // the file, or empty
	Line int    // the line in it, from 1, or 0
	Key  string // the key, or empty
	Text string // what is wrong, and the way out
}

// Error returns file, line and text in the form that editors understand.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("config: ")
	b.WriteString(place(e.File, e.Line))
	if e.Key != "" {
		b.WriteString(e.Key)
		b.WriteString(": ")
	}
	b.WriteString(e.Text)
	return b.String()
}

func place(file string, line int) string {
	switch {
	case file == "" && line == 0:
		return ""
	case line == 0:
		return file + ": "
	case file == "":
		return "line " + decimal(line) + ": "
	}
	return file + ":" + decimal(line) + ": "
}

// nearest returns the known word that is meant by a mistyped one, or an empty string if none is near.
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+2
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// didYouMean is the end of a sentence about an unknown word.
func didYouMean(word string, known []string) string {
	if k := nearest(word, known); k != "" {
		return "; did you mean \"" + k + "\"?"
	}
	return ""
}

func sortedByID(members []raft.Member) []raft.Member {
	slices.SortFunc(members, func(a, b raft.Member) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
	return members
}
