package floorplan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/oarlock/oarlock"

// source is one parsed Go file.
type source struct {
	path    string // from the module's root, with forward slashes
	pkg     string // the folder, "." for the root
	test    bool
	content []byte
	file    *ast.File
	fset    *token.FileSet
}

// at names a place as editors and people find it.
func (s *source) at(pos token.Pos) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(pos).Line)
}

// imports returns the import paths of the file with their places.
func (s *source) imports() map[string]string {
	found := make(map[string]string)
	for _, spec := range s.file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			found[name] = s.at(spec.Pos())
		}
	}
	return found
}

func parseSource(t *testing.T, name, content string) *source {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, content, parser.ParseComments)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &source{
		path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
		content: []byte(content), file: file, fset: fset,
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}

// walk calls visit for every file of the module: nested modules, what is built, hidden folders and testdata are left out.
func walk(t *testing.T, visit func(name, full string)) {
	t.Helper()
	root := moduleRoot(t)
	err := filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if !entry.IsDir() {
			visit(name, full)
			return nil
		}
		if name == "." {
			return nil
		}
		base := path.Base(name)
		_, nested := os.Stat(filepath.Join(full, "go.mod"))
		if strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || nested == nil ||
			name == "build" || name == "bin" || name == "dist" || name == "tmp" || base == "__pycache__" {
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses every Go file of the module.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	walk(t, func(name, full string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		content, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parseSource(t, name, string(content)))
	})
	if len(all) < 10 {
		t.Fatalf("only %d Go files found: the walk is broken", len(all))
	}
	return all
}

// report fails the test with one line for each finding, sorted by the order in which they were found.
func report(t *testing.T, rule string, findings []string) {
	t.Helper()
	if len(findings) > 0 {
		t.Errorf("%s:\n\t%s", rule, strings.Join(findings, "\n\t"))
	}
}
