package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// packages compiles what package sim is made of, from the cache as a rule, and returns it by folder and by import path.
func packages(t *testing.T, root string) (byDir, byPath map[string]listed) {
	c := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles", "./sim")
	c.Dir, c.Stderr = root, os.Stderr
	out, err := c.Output()
	require.NoError(t, err)
	byDir, byPath = map[string]listed{}, map[string]listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return byDir, byPath
		}
		require.NoError(t, err)
		byDir[p.Dir], byPath[p.ImportPath] = p, p
	}
}

// compiles reports whether a package passes the compiler's checks with some of its files changed.
func compiles(root string, p listed, byPath map[string]listed, changed map[string]string) error {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		path := filepath.Join(p.Dir, name)
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var source any
		if text, ok := changed[filepath.ToSlash(rel)]; ok {
			source = text
		}
		f, err := parser.ParseFile(fset, path, source, 0)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if byPath[path].Export == "" {
			return nil, fmt.Errorf("%s is not among what package sim is made of", path)
		}
		return os.Open(byPath[path].Export)
	}
	_, err := (&types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}).Check(p.ImportPath, fset, files, nil)
	return err
}

// That a bug still applies and compiles is all that can be said without running it, and it is said within seconds.
func TestEveryBugStillAppliesAndCompiles(t *testing.T) {
	root, err := moduleRoot("go")
	require.NoError(t, err)
	bugs, err := readBugs(filepath.Join(root, bugsDir))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(bugs), 45)
	byDir, byPath := packages(t, root)
	for i := range bugs {
		b := &bugs[i]
		t.Run(b.name, func(t *testing.T) {
			changed, err := b.apply(root)
			require.NoError(t, err)
			for file := range changed {
				p, ok := byDir[filepath.Join(root, filepath.Dir(filepath.FromSlash(file)))]
				require.True(t, ok, "%s is in no package that package sim is made of", file)
				require.NoError(t, compiles(root, p, byPath, changed))
			}
		})
	}
}
