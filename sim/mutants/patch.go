package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bug is a known bug: what is wrong with it, and the edits that bring it back.
type bug struct {
	name   string // of its file, without the suffix
	title  string // what is wrong, in a sentence
	source string // the scenario or the rule that it stands for
	edits  []edit
}

// edit replaces whole lines of a file. What is replaced must stand there exactly once, wherever that is.
type edit struct {
	file          string // from the module's root, with forward slashes
	before, after string
}

const bugSuffix = ".patch"

// readBugs reads all bugs of a folder, by name.
func readBugs(dir string) ([]bug, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+bugSuffix))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var bugs []bug
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		b, err := parseBug(strings.TrimSuffix(filepath.Base(file), bugSuffix), string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		bugs = append(bugs, b)
	}
	if len(bugs) == 0 {
		return nil, fmt.Errorf("%s holds no bugs", dir)
	}
	return bugs, nil
}

const (
	sourceMark = "Stands for: "
	fileMark   = "--- "
	editMark   = "@@"
)

// parseBug reads the text of a bug: the sentence that says what is wrong, a line that says what it stands for, and as much
// further explanation as wanted; then for each file a line with its name, and for each edit of it a line with @@ and a diff
// without line numbers.
func parseBug(name, text string) (bug, error) {
	b := bug{name: name}
	head, rest, _ := strings.Cut(text, "\n"+fileMark)
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(line)
		if source, ok := strings.CutPrefix(line, sourceMark); ok {
			b.source = source
		} else if b.title == "" {
			b.title = line
		}
	}
	if b.title == "" || b.source == "" || rest == "" {
		return b, fmt.Errorf("it needs a sentence, a line %q and an edit", sourceMark)
	}
	file, inEdit := "", false
	for line := range strings.Lines(fileMark + rest) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, fileMark):
			file, inEdit = strings.TrimPrefix(line, fileMark), false
		case line == editMark:
			b.edits, inEdit = append(b.edits, edit{file: file}), true
		case !inEdit:
			return b, fmt.Errorf("%q stands outside of an edit", line)
		default:
			if err := b.edits[len(b.edits)-1].add(line); err != nil {
				return b, err
			}
		}
	}
	for _, e := range b.edits {
		if e.before == "" || e.before == e.after {
			return b, fmt.Errorf("an edit of %s replaces nothing", e.file)
		}
	}
	return b, nil
}

// add takes one line of a diff. An empty one is an empty line of the context, because editors cut blanks off.
func (e *edit) add(line string) error {
	if line == "" {
		line = " "
	}
	text := line[1:] + "\n"
	switch line[0] {
	case ' ':
		e.before += text
		e.after += text
	case '-':
		e.before += text
	case '+':
		e.after += text
	default:
		return fmt.Errorf("%q begins with none of blank, - and +", line)
	}
	return nil
}

// apply returns the files that a bug changes as they are with it, by name.
func (b *bug) apply(root string) (map[string]string, error) {
	changed := make(map[string]string)
	for _, e := range b.edits {
		text, ok := changed[e.file]
		if !ok {
			content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.name, err)
			}
			text = string(content)
		}
		at, n := place(text, e.before)
		if n != 1 {
			return nil, fmt.Errorf("%s: what it replaces stands %d times in %s, which has to be once:\n%s", b.name, n, e.file, e.before)
		}
		changed[e.file] = text[:at] + e.after + text[at+len(e.before):]
	}
	return changed, nil
}

// place returns where lines begin in a text, and how often they stand there.
func place(text, lines string) (at, count int) {
	for from := 0; from <= len(text)-len(lines); from++ {
		k := strings.Index(text[from:], lines)
		if k < 0 {
			break
		}
		if from += k; from == 0 || text[from-1] == '\n' {
			at, count = from, count+1
		}
	}
	return at, count
}
