"""One comparison a cell of a grid: where does which method pay?"""
