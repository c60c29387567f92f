// A dot product for each channel, in a convolution.
#p = #equivariant.product<x = "8x1o", y = "1x1o", z = "8x0e", paths = [uvu(0, 0, 0) * 0.57735026918962573]>
#x = #equivariant.irreps<"8x1o", mul_ir>
#y = #equivariant.irreps<"1x1o", mul_ir>
#z = #equivariant.irreps<"8x0e", mul_ir>
func.func @conv(%g: !equivariant.graph, %x: tensor<?x24xf32, #x>, %y: tensor<?x3xf32, #y>, %w: tensor<?x8xf32>) -> tensor<?x8xf32, #z> {
  %xe = equivariant.gather %x at senders of %g : tensor<?x24xf32, #x> -> tensor<?x24xf32, #x> over !equivariant.graph
  %m = equivariant.contract z of #p (x = %xe, y = %y, w = %w)
       : (tensor<?x24xf32, #x>, tensor<?x3xf32, #y>, tensor<?x8xf32>) -> tensor<?x8xf32, #z>
  %z = equivariant.segment_sum %m at receivers of %g : tensor<?x8xf32, #z> -> tensor<?x8xf32, #z> over !equivariant.graph
  return %z : tensor<?x8xf32, #z>
}
