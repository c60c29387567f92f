// The plan of a graph on a GPU (docs/Architecture.md, section 4): the receivers' side, of edges that are sorted by them. `espmm.graph` launches it, with the
// receivers and senders of the edges as int64 (for the senders' side the other way round), and reads the facts, which are zeros before. Whatever the indices are,
// it stays within its arrays:
//
//   facts[0]  1 if an index is out of range
//   facts[1]  1 if edges are not sorted: then nothing else of it is right
//   facts[2]  the most edges of a node
module attributes {equivariant.target = "cuda:sm_NN"} {
  func.func @plan(%edges: i64 {equivariant.name = "E", equivariant.role = "size"},
                  %nodes: i64 {equivariant.name = "R", equivariant.role = "size"},
                  %others: i64 {equivariant.name = "S", equivariant.role = "size"},
                  %index: !llvm.ptr {equivariant.name = "receivers.index", equivariant.role = "plan"},
                  %other: !llvm.ptr {equivariant.name = "senders.index", equivariant.role = "plan"},
                  %offsets: !llvm.ptr {equivariant.name = "receivers.offsets", equivariant.role = "plan"},
                  %ends: !llvm.ptr {equivariant.name = "receivers.other", equivariant.role = "plan"},
                  %parts: !llvm.ptr {equivariant.name = "receivers.parts", equivariant.role = "plan"},
                  %facts: !llvm.ptr {equivariant.name = "receivers.facts", equivariant.role = "plan"}) {
    %one = arith.constant 1 : i64
    %threads = arith.constant 256 : i64
    %ofOffsets = arith.addi %nodes, %one : i64
    %ofFirst = arith.maxsi %edges, %ofOffsets : i64
    %firstBlocks = arith.ceildivui %ofFirst, %threads : i64
    equivariant.launch @edges grid(%firstBlocks) block [32, 8, 1] shared 0(%edges, %nodes, %others, %index, %other, %offsets, %ends, %facts) : i64, i64, i64, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr
    %most = arith.constant 65 : i64
    %ofNodes = arith.maxsi %nodes, %most : i64
    %nodeBlocks = arith.ceildivui %ofNodes, %threads : i64
    equivariant.launch @nodes grid(%nodeBlocks) block [32, 8, 1] shared 0(%edges, %nodes, %offsets, %parts, %facts) : i64, i64, !llvm.ptr, !llvm.ptr, !llvm.ptr
    return
  }

  // A thread looks at the edge of its number, and for the first edge of the node of its number, or a later one: that node's offset.
  llvm.func @edges(%edges: i64, %nodes: i64, %others: i64, %index: !llvm.ptr<1> {llvm.noalias, llvm.readonly}, %other: !llvm.ptr<1> {llvm.noalias, llvm.readonly}, %offsets: !llvm.ptr<1> {llvm.noalias}, %ends: !llvm.ptr<1> {llvm.noalias}, %facts: !llvm.ptr<1> {llvm.noalias}) attributes {nvvm.kernel, nvvm.maxntid = array<i32: 32, 8, 1>} {
    %zero = arith.constant 0 : i64
    %one = arith.constant 1 : i64
    %two = arith.constant 2 : i64
    %yes = arith.constant 1 : i32
    %x = nvvm.read.ptx.sreg.tid.x : i32
    %y = nvvm.read.ptx.sreg.tid.y : i32
    %b = nvvm.read.ptx.sreg.ctaid.x : i32
    %x64 = arith.extui %x : i32 to i64
    %y64 = arith.extui %y : i32 to i64
    %b64 = arith.extui %b : i32 to i64
    %warp = arith.constant 32 : i64
    %block = arith.constant 256 : i64
    %w = arith.muli %y64, %warp : i64
    %g = arith.muli %b64, %block : i64
    %t = arith.addi %x64, %w : i64
    %thread = arith.addi %t, %g : i64
    %isEdge = arith.cmpi slt, %thread, %edges : i64
    scf.if %isEdge {
      %p = llvm.getelementptr %index[%thread] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i64
      %i = llvm.load %p {alignment = 8 : i64} : !llvm.ptr<1> -> i64
      %q = llvm.getelementptr %other[%thread] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i64
      %o = llvm.load %q {alignment = 8 : i64} : !llvm.ptr<1> -> i64
      %short = arith.trunci %o : i64 to i32
      %to = llvm.getelementptr %ends[%thread] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
      llvm.store %short, %to {alignment = 4 : i64} : i32, !llvm.ptr<1>
      // As unsigned numbers negative ones are too large as well.
      %badIndex = arith.cmpi uge, %i, %nodes : i64
      %badOther = arith.cmpi uge, %o, %others : i64
      %isBad = arith.ori %badIndex, %badOther : i1
      scf.if %isBad {
        llvm.store %yes, %facts {alignment = 4 : i64} : i32, !llvm.ptr<1>
      }
      %isLater = arith.cmpi sgt, %thread, %zero : i64
      scf.if %isLater {
        %r = llvm.getelementptr %p[-1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i64
        %before = llvm.load %r {alignment = 8 : i64} : !llvm.ptr<1> -> i64
        %descends = arith.cmpi slt, %i, %before : i64
        scf.if %descends {
          %flag = llvm.getelementptr %facts[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
          llvm.store %yes, %flag {alignment = 4 : i64} : i32, !llvm.ptr<1>
        }
      }
    }
    %isNode = arith.cmpi sle, %thread, %nodes : i64
    scf.if %isNode {
      %found:2 = scf.while (%low = %zero, %high = %edges) : (i64, i64) -> (i64, i64) {
        %more = arith.cmpi slt, %low, %high : i64
        scf.condition(%more) %low, %high : i64, i64
      } do {
      ^bb0(%low: i64, %high: i64):
        %sum = arith.addi %low, %high : i64
        %middle = arith.divui %sum, %two : i64
        %p = llvm.getelementptr %index[%middle] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i64
        %i = llvm.load %p {alignment = 8 : i64} : !llvm.ptr<1> -> i64
        %isLess = arith.cmpi slt, %i, %thread : i64
        %next = arith.addi %middle, %one : i64
        %newLow = arith.select %isLess, %next, %low : i64
        %newHigh = arith.select %isLess, %high, %middle : i64
        scf.yield %newLow, %newHigh : i64, i64
      }
      %to = llvm.getelementptr %offsets[%thread] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
      %short = arith.trunci %found#0 : i64 to i32
      llvm.store %short, %to {alignment = 4 : i64} : i32, !llvm.ptr<1>
    }
    llvm.return
  }

  // Threads 0 to 64 look for the parts: p begins with the first node before which at least p / 64 of all edges and nodes come. All look at a node's edges.
  llvm.func @nodes(%edges: i64, %nodes: i64, %offsets: !llvm.ptr<1> {llvm.noalias, llvm.readonly}, %parts: !llvm.ptr<1> {llvm.noalias}, %facts: !llvm.ptr<1> {llvm.noalias}) attributes {nvvm.kernel, nvvm.maxntid = array<i32: 32, 8, 1>} {
    %zero = arith.constant 0 : i64
    %one = arith.constant 1 : i64
    %two = arith.constant 2 : i64
    %count = arith.constant 64 : i64
    %x = nvvm.read.ptx.sreg.tid.x : i32
    %y = nvvm.read.ptx.sreg.tid.y : i32
    %b = nvvm.read.ptx.sreg.ctaid.x : i32
    %x64 = arith.extui %x : i32 to i64
    %y64 = arith.extui %y : i32 to i64
    %b64 = arith.extui %b : i32 to i64
    %warp = arith.constant 32 : i64
    %block = arith.constant 256 : i64
    %w = arith.muli %y64, %warp : i64
    %g = arith.muli %b64, %block : i64
    %t = arith.addi %x64, %w : i64
    %thread = arith.addi %t, %g : i64
    %isNode = arith.cmpi slt, %thread, %nodes : i64
    scf.if %isNode {
      %p = llvm.getelementptr %offsets[%thread] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
      %q = llvm.getelementptr %p[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
      %begin = llvm.load %p {alignment = 4 : i64} : !llvm.ptr<1> -> i32
      %end = llvm.load %q {alignment = 4 : i64} : !llvm.ptr<1> -> i32
      %degree = arith.subi %end, %begin : i32
      %most = llvm.getelementptr %facts[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
      %known = llvm.load %most {alignment = 4 : i64} : !llvm.ptr<1> -> i32
      %isMore = arith.cmpi sgt, %degree, %known : i32
      scf.if %isMore {
        %old = llvm.atomicrmw max %most, %degree monotonic : !llvm.ptr<1>, i32
      }
    }
    %isPart = arith.cmpi sle, %thread, %count : i64
    scf.if %isPart {
      %all = arith.addi %edges, %nodes : i64
      %wanted = arith.muli %all, %thread : i64
      // Between low and high lies the first node that has so much before it.
      %found:2 = scf.while (%low = %zero, %high = %nodes) : (i64, i64) -> (i64, i64) {
        %more = arith.cmpi slt, %low, %high : i64
        scf.condition(%more) %low, %high : i64, i64
      } do {
      ^bb0(%low: i64, %high: i64):
        %sum = arith.addi %low, %high : i64
        %middle = arith.divui %sum, %two : i64
        %p = llvm.getelementptr %offsets[%middle] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
        %before = llvm.load %p {alignment = 4 : i64} : !llvm.ptr<1> -> i32
        %before64 = arith.extsi %before : i32 to i64
        %work = arith.addi %before64, %middle : i64
        %scaled = arith.muli %work, %count : i64
        %isLess = arith.cmpi slt, %scaled, %wanted : i64
        %next = arith.addi %middle, %one : i64
        %newLow = arith.select %isLess, %next, %low : i64
        %newHigh = arith.select %isLess, %high, %middle : i64
        scf.yield %newLow, %newHigh : i64, i64
      }
      %to = llvm.getelementptr %parts[%thread] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
      %short = arith.trunci %found#0 : i64 to i32
      llvm.store %short, %to {alignment = 4 : i64} : i32, !llvm.ptr<1>
    }
    llvm.return
  }
}
