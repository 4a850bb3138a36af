"""The crossbar's products on a GPU: one Triton kernel for each layer."""
