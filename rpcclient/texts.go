package rpcclient

// textsAtOnce is how many texts share one piece of memory.
const textsAtOnce = 128

// texts makes texts that are wanted in order, one for each index, in pieces: a request to 100,000 nodes needs twice as many
// subjects, and memory of its own for each costs more than its content.
type texts struct {
	n      int                                  // of all
	append func(piece []byte, index int) []byte // appends one text
	piece  []byte                               // memory for the next piece, used again
	text   string                               // the present piece
	first  int                                  // index of its first text
	ends   []int                                // of the texts in it
}

// get is the text of an index that is not below an earlier one.
func (t *texts) get(index int) string {
	if index >= t.first+len(t.ends) {
		t.piece, t.first, t.ends = t.piece[:0], index, t.ends[:0]
		for i := index; i < min(index+textsAtOnce, t.n); i++ {
			t.piece = t.append(t.piece, i)
			t.ends = append(t.ends, len(t.piece))
		}
		t.text = string(t.piece)
	}
	begin := 0
	if index > t.first {
		begin = t.ends[index-t.first-1]
	}
	return t.text[begin:t.ends[index-t.first]]
}
