// Readlog reads a whole log over HTTP as C2SP tlog-tiles lays it out, and checks it with the Go project's own
// libraries alone: golang.org/x/mod/sumdb/note and golang.org/x/mod/sumdb/tlog.
//
// Usage: readlog ADDRESS VERIFIER-KEY
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// server is the log's address. It is a tlog.TileReader.
type server string

func (s server) get(path string) (int, http.Header, []byte) {
	response, err := http.Get(string(s) + "/" + path)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	return response.StatusCode, response.Header, body
}

func (s server) must(path string) []byte {
	status, _, body := s.get(path)
	if status != http.StatusOK {
		log.Fatalf("GET %s: got status %d", path, status)
	}
	return body
}

func (s server) Height() int { return height }

// known keeps the tiles that were authenticated.
var known = map[string][]byte{}

func (s server) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, ok := known[path(tile)]
		if !ok {
			data = s.must(path(tile))
		}
		all = append(all, data)
	}
	return all, nil
}

func (s server) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, tile := range tiles {
		known[path(tile)] = data[i]
	}
}

// path is the tile's name in tlog-tiles: that of sumdb, without the height and with another word for data.
func path(tile tlog.Tile) string {
	name := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	return "tile/" + strings.Replace(name, "data/", "entries/", 1)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func expect(ok bool, format string, values ...interface{}) {
	if !ok {
		log.Fatalf(format, values...)
	}
}

func main() {
	log.SetFlags(0)
	expect(len(os.Args) == 3, "usage: readlog ADDRESS VERIFIER-KEY")
	s := server(strings.TrimSuffix(os.Args[1], "/"))
	tree := head(s, os.Args[2])
	hashes := tlog.TileHashReader(tree, s)
	leaves := records(s, tree, hashes)
	proofs(tree, hashes, leaves)
	partials(s, tree, hashes)
	served(s, tree, hashes, leaves)
	beyond(s, tree)
	fmt.Printf("verified %d records\n", tree.N)
}

// head opens the checkpoint with the log's key.
func head(s server, key string) tlog.Tree {
	verifier, err := note.NewVerifier(key)
	check(err)
	opened, err := note.Open(s.must("checkpoint"), note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	expect(len(lines) >= 4, "the checkpoint has %d lines", len(lines))
	expect(lines[0] == verifier.Name(), "the origin is %q, the key's name %q", lines[0], verifier.Name())
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

// records reads all entry bundles and compares each record with the authenticated hash at its place.
func records(s server, tree tlog.Tree, hashes tlog.HashReader) []tlog.Hash {
	var leaves []tlog.Hash
	for n := int64(0); n<<height < tree.N; n++ {
		width := int64(1 << height)
		if left := tree.N - n<<height; left < width {
			width = left
		}
		data := s.must(path(tlog.Tile{H: height, L: -1, N: n, W: int(width)}))
		for i := int64(0); i < width; i++ {
			expect(len(data) >= 2, "bundle %d ends before record %d", n, i)
			length := int(binary.BigEndian.Uint16(data))
			expect(len(data) >= 2+length, "bundle %d ends within record %d", n, i)
			leaves = append(leaves, tlog.RecordHash(data[2:2+length]))
			data = data[2+length:]
		}
		expect(len(data) == 0, "bundle %d has %d bytes too many", n, len(data))
	}
	var places []int64
	for i := range leaves {
		places = append(places, tlog.StoredHashIndex(0, int64(i)))
	}
	stored, err := hashes.ReadHashes(places)
	check(err)
	for i := range leaves {
		expect(stored[i] == leaves[i], "record %d has hash %v, its tile says %v", i, leaves[i], stored[i])
	}
	return leaves
}

// proofs proves every record and every older tree out of the tiles, and checks the proofs.
func proofs(tree tlog.Tree, hashes tlog.HashReader, leaves []tlog.Hash) {
	for i, leaf := range leaves {
		proof, err := tlog.ProveRecord(tree.N, int64(i), hashes)
		check(err)
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, int64(i), leaf))
		size := int64(i) + 1
		root, err := tlog.TreeHash(size, hashes)
		check(err)
		older, err := tlog.ProveTree(tree.N, size, hashes)
		check(err)
		check(tlog.CheckTree(older, tree.N, tree.Hash, size, root))
	}
}

// partials reads every tile that any older tree had, of every width.
func partials(s server, tree tlog.Tree, hashes tlog.HashReader) {
	for _, tile := range tlog.NewTiles(height, 0, tree.N) {
		status, header, data := s.get(path(tile))
		expect(status == http.StatusOK, "GET %s: got status %d", path(tile), status)
		wanted, err := tlog.ReadTileData(tile, hashes)
		check(err)
		expect(bytes.Equal(data, wanted), "%s is not what the tree says", path(tile))
		immutable := strings.Contains(header.Get("Cache-Control"), "immutable")
		expect(immutable == (tile.W == 1<<height), "%s: Cache-Control is %q", path(tile), header.Get("Cache-Control"))
	}
}

// served checks the proofs that the log computes itself.
func served(s server, tree tlog.Tree, hashes tlog.HashReader, leaves []tlog.Hash) {
	for _, i := range []int64{0, tree.N / 3, tree.N / 2, tree.N - 1} {
		var entry struct{ Proof [][]byte }
		check(json.Unmarshal(s.must(fmt.Sprintf("api/v1/log/entries/%d", i)), &entry))
		check(tlog.CheckRecord(list(entry.Proof), tree.N, tree.Hash, i, leaves[i]))
		root, err := tlog.TreeHash(i+1, hashes)
		check(err)
		var consistency struct{ Proof [][]byte }
		check(json.Unmarshal(s.must(fmt.Sprintf("api/v1/log/consistency?old=%d&new=%d", i+1, tree.N)), &consistency))
		check(tlog.CheckTree(list(consistency.Proof), tree.N, tree.Hash, i+1, root))
	}
}

func list(proof [][]byte) []tlog.Hash {
	var hashes []tlog.Hash
	for _, one := range proof {
		hash, err := tlog.ParseHash(base64.StdEncoding.EncodeToString(one))
		check(err)
		hashes = append(hashes, hash)
	}
	return hashes
}

// beyond asks for what no checkpoint covers.
func beyond(s server, tree tlog.Tree) {
	next := tlog.Tile{H: height, L: 0, N: tree.N >> height, W: int(tree.N&(1<<height-1)) + 1}
	data := next
	data.L = -1
	for _, tile := range []tlog.Tile{next, data, {H: height, L: 7, N: 0, W: 1}} {
		status, _, _ := s.get(path(tile))
		expect(status == http.StatusNotFound, "GET %s: got status %d, expected 404", path(tile), status)
	}
}
