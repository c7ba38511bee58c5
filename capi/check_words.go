//go:build cgo

package main

import (
	"regexp"
	"strings"
)

// The suites speak of a machine in Go. A report for C and Python speaks of what oarlock.h has; what is only in C, Python says in its own
// words (_report.py). Words are looked for, and not sentences: a text that has changed since stays as it is, and no worse.

// hostWords is an error whose text a host has chosen: it is not touched, whatever words are in it.
type hostWords struct{ err error }

// What stands around a host's words until the report is made. %q leaves it as it is.
const wordsBegin, wordsEnd = "⟦host⟧", "⟦/host⟧"

// Error implements error.
func (w *hostWords) Error() string { return wordsBegin + w.err.Error() + wordsEnd }

// Unwrap gives the error behind it.
func (w *hostWords) Unwrap() error { return w.err }

var words = map[string]string{
	"Apply": "apply", "ApplyBatch": "apply", "Query": "query", "Restore": "restore", "Expire": "expire",
	"NextDue": "next_due", "StateHash": "state_hash", "Hash": "state_hash", "Entry.Command": "a command",
	"Snapshot": "capturing a snapshot", "Snapshot.WriteTo": "writing a snapshot", "Snapshot.Close": "releasing a snapshot",
	"WriteTo": "writing it", "panicked": "failed",
	"Options.SnapshotsVary": "OAR_CHECK_SNAPSHOTS_VARY", "SnapshotsVary": "OAR_CHECK_SNAPSHOTS_VARY",
	"Options.SnapshotsUnchecked": "OAR_CHECK_SNAPSHOTS_UNCHECKED", "SnapshotsUnchecked": "OAR_CHECK_SNAPSHOTS_UNCHECKED",
	// Several that go together.
	"be a Hasher": "have a state_hash", "be a statemachine.Hasher": "have a state_hash", "statemachine: NextDue": "next_due",
	"give Options.Query": "give queries", "give Options.Query or Options.QueryExamples": "give queries", "give Options.Command": "give commands",
	"give Options.Command or Options.Examples": "give commands", "give Options.Command, a generator": "give a generator of commands",
	"have Snapshot return an error": "have the capture of a snapshot fail",
	"ApplyBatch equals Apply":       "a batch equals its commands one by one",
}

var (
	// oneWord is what may be one of them, or is to be left alone: the words of a host, and in quotes the bytes of a command.
	oneWord = regexp.MustCompile(`(?s)` + wordsBegin + `.*?` + wordsEnd + `|"(?:[^"\\]|\\.)*"|` + "`[^`]*`|" +
		`\b(?:be a [\w.]+|statemachine: NextDue|give Options\.Command(?: or Options\.Examples|, a generator)?|give Options\.Query(?: or Options\.QueryExamples)?|` +
		`have Snapshot return an error|ApplyBatch equals Apply|[A-Za-z]+(?:\.[A-Z][A-Za-z]*)*)\b`)
	marks = strings.NewReplacer(wordsBegin, "", wordsEnd, "")
	// noAnswer is a query whose answer was none. To a server that is an error for whoever asked, and stops nothing.
	noAnswer = regexp.MustCompile(`(?s)^Query of (.*?) panicked(, which would stop every replica| on server \d+, which would stop it): `)
)

// inC has a text of the suites speak of what oarlock.h has.
func inC(text string) string {
	text = noAnswer.ReplaceAllString(text, "the query $1 got no answer: ")
	return marks.Replace(oneWord.ReplaceAllStringFunc(text, func(word string) string {
		if here, is := words[word]; is {
			return here
		}
		return word
	}))
}
